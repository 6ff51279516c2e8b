//! The plans that there are: those of the program, and files of whoever runs the platform.

use std::fs;
use std::io;
use std::path::Path;

use skep_meter::{Plan, PlanError};

/// Why plans cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlansError {
    /// The folder, or a file in it, cannot be read.
    #[error("{path}: {source}. `plans` is the folder of plans, one file of TOML for each")]
    Read {
        /// Which.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Two files have the same plan.
    #[error("{file}: another file has a plan that is named \"{name}\" as well: rename one of them")]
    Twice {
        /// The second one.
        file: String,
        /// The name.
        name: String,
    },
    /// The default is none of them.
    #[error("there is no plan \"{name}\": `plan` is one of {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

/// Reads the plans of a folder, beside those of the program. One with the same name takes its place.
pub(super) fn read(folder: Option<&Path>, default: &str) -> Result<Vec<Plan>, PlansError> {
    let mut plans: Vec<Plan> = Vec::new();
    if let Some(folder) = folder {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| PlansError::Read { path, source }
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed(folder))? {
            let path = entry.map_err(failed(folder))?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        for path in paths {
            let file = path.display().to_string();
            let text = fs::read_to_string(&path).map_err(failed(&path))?;
            let plan = Plan::parse(&file, &text)?;
            if plans.iter().any(|other| other.name == plan.name) {
                return Err(PlansError::Twice { file, name: plan.name });
            }
            plans.push(plan);
        }
    }
    for shipped in Plan::shipped() {
        if plans.iter().all(|plan| plan.name != shipped.name) {
            plans.push(shipped.clone());
        }
    }
    if plans.iter().all(|plan| plan.name != default) {
        let known: Vec<&str> = plans.iter().map(|plan| &*plan.name).collect();
        return Err(PlansError::Unknown { name: default.to_owned(), known: known.join(", ") });
    }
    Ok(plans)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::read;

    const PLAN: &str =
        "name = \"mine\"\ntitle = \"Mine\"\nbase = \"1.00\"\n[requests]\nincluded = 0\nprice_per_million = \"1\"\n";

    #[test]
    fn plans_of_a_folder_come_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
        write("mine.toml", PLAN);
        write("free.toml", &PLAN.replace("mine", "workers-free"));
        write("notes.txt", "nothing");
        let plans = read(Some(folder.path()), "mine").expect("plans");
        assert_eq!(plans.iter().filter(|plan| plan.name == "workers-free").count(), 1);
        assert_eq!((plans[0].name.as_str(), plans[0].title.as_str()), ("workers-free", "Mine"));
        assert!(
            read(Some(folder.path()), "none")
                .expect_err("unknown")
                .to_string()
                .contains("is one of workers-free, mine")
        );
        write("other.toml", PLAN);
        assert!(read(Some(folder.path()), "mine").expect_err("twice").to_string().contains("other.toml"));
        write("other.toml", &PLAN.replace("\"1\"", "-1"));
        let error = read(Some(folder.path()), "mine").expect_err("negative").to_string();
        assert!(error.contains("other.toml:6: requests.price_per_million"), "{error}");
        assert!(
            read(Some(&folder.path().join("none")), "mine").expect_err("none").to_string().contains("folder of plans")
        );
        assert_eq!(read(None, "self-hosted").expect("those of the program").len(), 5);
    }
}
