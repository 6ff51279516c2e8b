//! The files of a new project.

use std::path::PathBuf;

use crate::NewProject;
use crate::template::{Language, Template};

/// The version of each package that a project may need: the newest when this was written.
const PACKAGES: &[(&str, &str)] = &[
    ("@cloudflare/workers-types", "^5.20261117.1"),
    ("hono", "^4.13.19"),
    ("typescript", "^7.0.2"),
    ("vitest", "^4.1.12"),
];

/// Every file of a new project, by its path in the project's folder, with its text.
pub fn files(project: &NewProject) -> Vec<(PathBuf, String)> {
    let extension = project.language.extension();
    let source = project.template.source(project.language);
    let is_typed = project.language == Language::TypeScript;
    let configuration = configuration(project);
    let mut files = vec![
        (".editorconfig".to_owned(), include_str!("../templates/shared/editorconfig").to_owned()),
        (".gitignore".to_owned(), include_str!("../templates/shared/gitignore").to_owned()),
        (".prettierrc".to_owned(), include_str!("../templates/shared/prettierrc").to_owned()),
        ("README.md".to_owned(), readme(project)),
        ("package.json".to_owned(), package(project)),
        (format!("src/index.{extension}"), source.program.to_owned()),
        (format!("test/index.spec.{extension}"), source.test.to_owned()),
        (format!("test/support.{extension}"), support(project.language).to_owned()),
        ("wrangler.jsonc".to_owned(), configuration.clone()),
    ];
    if is_typed {
        files.push(("tsconfig.json".to_owned(), include_str!("../templates/shared/tsconfig.json").to_owned()));
        let types = skep_bundle::types::declarations_of(&configuration).unwrap_or_default();
        files.push(("worker-configuration.d.ts".to_owned(), types));
    }
    files.sort();
    files.into_iter().map(|(path, text)| (path.into(), text)).collect()
}

const fn support(language: Language) -> &'static str {
    match language {
        Language::TypeScript => include_str!("../templates/shared/support.ts"),
        Language::JavaScript => include_str!("../templates/shared/support.js"),
    }
}

fn readme(project: &NewProject) -> String {
    include_str!("../templates/shared/README.md")
        .replace("{{name}}", &project.name)
        .replace("{{description}}", project.template.description())
        .replace("{{extension}}", project.language.extension())
}

fn package(project: &NewProject) -> String {
    let is_typed = project.language == Language::TypeScript;
    let dependencies: &[&str] = if project.template == Template::Hono { &["hono"] } else { &[] };
    let tools: &[&str] = if is_typed { &["@cloudflare/workers-types", "typescript", "vitest"] } else { &["vitest"] };
    let list = |names: &[&str]| {
        let line = |(name, version): &(&str, &str)| format!("\t\t\"{name}\": \"{version}\"");
        let lines: Vec<String> = PACKAGES.iter().filter(|(name, _)| names.contains(name)).map(line).collect();
        lines.join(",\n")
    };
    let mut text = format!(
        "{{\n\t\"name\": \"{}\",\n\t\"version\": \"0.0.0\",\n\t\"private\": true,\n\t\"type\": \"module\",\n",
        project.name
    );
    text.push_str("\t\"scripts\": {\n\t\t\"deploy\": \"skep deploy\",\n\t\t\"dev\": \"skep dev\",\n\t\t\"start\": \"skep dev\",\n\t\t\"test\": \"vitest run\"");
    if is_typed {
        text.push_str(",\n\t\t\"cf-typegen\": \"skep types\"");
    }
    text.push_str("\n\t},\n");
    if !dependencies.is_empty() {
        text.push_str(&format!("\t\"dependencies\": {{\n{}\n\t}},\n", list(dependencies)));
    }
    text.push_str(&format!("\t\"devDependencies\": {{\n{}\n\t}}\n}}\n", list(tools)));
    text
}

fn configuration(project: &NewProject) -> String {
    let NewProject { name, template, language, compatibility_date } = project;
    let extension = language.extension();
    let triggers = match template {
        Template::Scheduled => {
            "\t// When `scheduled` runs: https://developers.cloudflare.com/workers/configuration/cron-triggers/\n\
             \t\"triggers\": { \"crons\": [\"0 * * * *\"] },\n"
        }
        _ => "",
    };
    format!(
        "// The configuration of this Worker: https://developers.cloudflare.com/workers/wrangler/configuration/\n\
         {{\n\
         \t\"$schema\": \"https://unpkg.com/wrangler@4/config-schema.json\",\n\
         \t\"name\": \"{name}\",\n\
         \t\"main\": \"src/index.{extension}\",\n\
         \t// Which behaviour of the platform the program was written for: move it on when you have tested it.\n\
         \t\"compatibility_date\": \"{compatibility_date}\",\n\
         {triggers}\
         \t// Keep logs of the deployed Worker.\n\
         \t\"observability\": {{ \"enabled\": true }},\n\
         \t// What the program finds in `env`. Secrets do not belong here: .dev.vars is for them.\n\
         \t// \"vars\": {{ \"GREETING\": \"Hello\" }},\n\
         }}\n"
    )
}
