//! `skep init`: writes a new project.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use skep_scaffold::{Language, NewProject, Template};

use crate::commands::{Outcome, today};
use crate::output;

/// Write a new project: no network, no questions unless there is somebody to answer
#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder to make; its name is the Worker's. Without one: the current folder
    name: Option<String>,
    /// What to begin with
    #[arg(long, short, value_name = "TEMPLATE", value_parser = template)]
    template: Option<Template>,
    /// The language
    #[arg(long, value_name = "LANGUAGE", default_value = "ts")]
    lang: Lang,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Lang {
    /// TypeScript
    Ts,
    /// JavaScript
    Js,
}

fn template(name: &str) -> Result<Template, String> {
    Template::ALL.into_iter().find(|template| template.name() == name).ok_or_else(|| {
        let known: Vec<String> = Template::ALL
            .iter()
            .map(|template| format!("  {:<14} {}", template.name(), template.description()))
            .collect();
        format!("there is no template of that name. These are:\n{}", known.join("\n"))
    })
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let here = std::env::current_dir()?;
    let name = match &arguments.name {
        Some(name) => Some(name.clone()),
        None => output::ask("What is the Worker called?", "my-worker"),
    };
    let (folder, name) = match name {
        Some(name) => {
            let folder = here.join(&name);
            let last = Path::new(&name).file_name().map(|last| last.to_string_lossy().into_owned()).unwrap_or(name);
            (folder, last)
        }
        None => (here.clone(), here.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()),
    };
    let language = match arguments.lang {
        Lang::Ts => Language::TypeScript,
        Lang::Js => Language::JavaScript,
    };
    let project = NewProject::new(name, arguments.template.unwrap_or(Template::Hello), language, today())?;
    let written = skep_scaffold::write(&folder, &project)?;
    for path in &written {
        output::line(&format!("  {}", shown(path, &here)));
    }
    let into = shown(&folder, &here);
    let change = if folder == here { String::new() } else { format!("  cd {into}\n") };
    output::line(&format!("\nNext:\n{change}  npm install\n  npm run dev"));
    Ok(())
}

fn shown(path: &Path, here: &Path) -> String {
    let relative: PathBuf = path.strip_prefix(here).unwrap_or(path).to_owned();
    relative.display().to_string()
}
