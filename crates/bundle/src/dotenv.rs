//! Secrets from files: `.dev.vars`, or else `.env` and its relatives.
//!
//! <https://developers.cloudflare.com/workers/configuration/secrets/#local-development-with-secrets>. The syntax is that of the
//! npm package `dotenv`, which wrangler uses: quotes of three kinds, values over several lines, comments, `export`. Written here
//! because the Rust crates for it replace `$NAME` in every value from the process's environment and refuse values with blanks:
//! both would change secrets. Nothing here reads or writes the process's environment.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Location};
use crate::files;

/// Variables of a `.env` that are for wrangler and `skep` and not for the Worker: `skep env --write` puts a token there.
const FOR_COMMANDS: [&str; 3] = ["CLOUDFLARE_API_BASE_URL", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID"];

/// What the files of a project say.
#[derive(Clone, Debug, Default)]
pub(crate) struct EnvFiles {
    /// Each name with its value, by name.
    pub(crate) values: BTreeMap<String, String>,
    /// The files that were looked for, whether they exist or not: a change in one of them changes the values.
    pub(crate) inputs: Vec<PathBuf>,
}

/// Reads the files of a folder for an environment. `.dev.vars` wins over `.env` as a whole, and `.dev.vars.<environment>` over
/// `.dev.vars`; of `.env`, `.env.local`, `.env.<environment>` and `.env.<environment>.local` the later one wins name by name.
/// `named` are files that the command line names in place of all these.
///
/// # Errors
/// A line that is neither `NAME=value` nor a comment, a quote that does not end, a named file that does not exist.
pub(crate) fn read(
    root: &Path,
    folder: &Path,
    environment: Option<&str>,
    named: &[PathBuf],
) -> Result<EnvFiles, (Vec<Diagnostic>, Vec<PathBuf>)> {
    if !named.is_empty() {
        return merge(root, named, true);
    }
    let with = |name: &str| environment.map(|environment| folder.join(format!("{name}.{environment}")));
    let mut inputs: Vec<PathBuf> = with(".dev.vars").into_iter().chain([folder.join(".dev.vars")]).collect();
    if let Some(index) = inputs.iter().position(|path| path.is_file()) {
        let files = merge(root, &inputs[index..=index], true)?;
        return Ok(EnvFiles { inputs, ..files });
    }
    let mut names = vec![folder.join(".env"), folder.join(".env.local")];
    if let Some(path) = with(".env") {
        let local = PathBuf::from(format!("{}.local", path.display()));
        names.extend([path, local]);
    }
    let mut files = merge(root, &names, false)?;
    files.values.retain(|name, _| !FOR_COMMANDS.contains(&name.as_str()));
    inputs.extend(files.inputs);
    Ok(EnvFiles { values: expand(&files.values), inputs })
}

/// The values of several files: the later one wins.
fn merge(root: &Path, paths: &[PathBuf], must_exist: bool) -> Result<EnvFiles, (Vec<Diagnostic>, Vec<PathBuf>)> {
    let mut values = BTreeMap::new();
    let mut errors = Vec::new();
    for path in paths.iter().filter(|path| must_exist || path.is_file()) {
        match files::read_text(root, path) {
            Ok(text) => {
                let (pairs, mut wrong) = parse(&files::shown(root, path), &text);
                values.extend(pairs);
                errors.append(&mut wrong);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(EnvFiles { values, inputs: paths.to_vec() }) } else { Err((errors, paths.to_vec())) }
}

/// Reads a file's text: pairs in its order, and what is wrong with it.
pub fn parse(file: &Path, text: &str) -> (Vec<(String, String)>, Vec<Diagnostic>) {
    let mut pairs = Vec::new();
    let mut errors = Vec::new();
    let mut parser = Parser { text, at: 0 };
    while parser.at < text.len() {
        match parser.line() {
            Ok(pair) => pairs.extend(pair),
            Err((span, message, hint)) => {
                errors.push(Diagnostic::error(message).at(Location::of(file, text, span)).hint(hint));
                parser.skip_line();
            }
        }
    }
    (pairs, errors)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

type Mistake = (Range<usize>, &'static str, &'static str);

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_while(&mut self, skip: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|char| !skip(char)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn skip_line(&mut self) {
        self.skip_while(|char| char != '\n');
        self.at = (self.at + 1).min(self.text.len());
    }

    /// One line, or as many as its value has.
    fn line(&mut self) -> Result<Option<(String, String)>, Mistake> {
        const HINT: &str = "write NAME=value, one a line; comments begin with #";
        let start = self.at;
        self.skip_while(|char| char.is_whitespace() && char != '\n' || char == '\u{feff}');
        if self.rest().is_empty() || self.rest().starts_with(['\n', '#']) {
            self.skip_line();
            return Ok(None);
        }
        let is_name = |char: char| char.is_alphanumeric() || "_.-".contains(char);
        let mut name = self.skip_while(is_name);
        let blank = self.skip_while(|char| char == ' ' || char == '\t');
        if name == "export" && !blank.is_empty() && !self.rest().starts_with(['=', ':']) {
            name = self.skip_while(is_name);
            self.skip_while(|char| char == ' ' || char == '\t');
        }
        let is_pair = self.rest().starts_with('=') || self.rest().starts_with(": ");
        if name.is_empty() || !is_pair {
            let length = self.rest().find('\n').unwrap_or(self.rest().len());
            return Err((start..self.at + length, "this line is not NAME=value", HINT));
        }
        self.at += 1;
        self.skip_while(|char| char == ' ' || char == '\t');
        Ok(Some((name.to_owned(), self.value()?)))
    }

    fn value(&mut self) -> Result<String, Mistake> {
        let start = self.at;
        let Some(quote) = self.rest().chars().next().filter(|char| "\"'`".contains(*char)) else {
            return Ok(self.plain_value().to_owned());
        };
        let mut escaped = false;
        let end = self.rest()[1..].char_indices().find(|(_, char)| {
            let is_end = *char == quote && !escaped;
            escaped = *char == '\\' && !escaped;
            is_end
        });
        let Some((end, _)) = end else {
            return Err((start..start + 1, "this quote does not end", "close it with the same quote"));
        };
        let value = &self.rest()[1..=end];
        let line_rest = self.rest()[end + 2..].split('\n').next().unwrap_or_default().trim();
        if !line_rest.is_empty() && !line_rest.starts_with('#') {
            // 'it's so': the quote was part of the text
            let plain = self.plain_value();
            return Ok(plain
                .strip_prefix(quote)
                .and_then(|plain| plain.strip_suffix(quote))
                .unwrap_or(plain)
                .to_owned());
        }
        self.at += end + 2;
        self.skip_line();
        let value = value.replace("\r\n", "\n");
        Ok(if quote == '"' { value.replace("\\n", "\n").replace("\\r", "\r") } else { value })
    }

    /// The rest of the line up to a comment.
    fn plain_value(&mut self) -> &'a str {
        let line = self.skip_while(|char| char != '\n');
        self.skip_line();
        line.split_once('#').map_or(line, |(value, _)| value).trim()
    }
}

/// Replaces `$NAME`, `${NAME}` and `${NAME:-default}` by other values of the same files; `\$` stands for a dollar sign. Only
/// `.env` files are treated so, never `.dev.vars`.
fn expand(values: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    values.iter().map(|(name, value)| (name.clone(), expand_value(value, values, 0))).collect()
}

/// How deep values may refer to each other: a circle ends there.
const MAX_DEPTH: usize = 8;

fn expand_value(value: &str, values: &BTreeMap<String, String>, depth: usize) -> String {
    let mut expanded = String::new();
    let mut rest = value;
    while let Some(dollar) = rest.find('$') {
        let (before, after) = (&rest[..dollar], &rest[dollar + 1..]);
        if let Some(before) = before.strip_suffix('\\') {
            expanded.push_str(before);
            expanded.push('$');
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let braced = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let (reference, following) = braced.unwrap_or_else(|| {
            let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
            after.split_at(after.find(|char| !is_name(char)).unwrap_or(after.len()))
        });
        if reference.is_empty() || reference.starts_with(|char: char| char.is_ascii_digit()) && braced.is_none() {
            expanded.push('$');
            rest = after;
            continue;
        }
        let (name, default) =
            reference.split_once(":-").or_else(|| reference.split_once('-')).unwrap_or((reference, ""));
        let found =
            values.get(name).filter(|value| !value.is_empty() && depth < MAX_DEPTH).map_or(default, String::as_str);
        expanded.push_str(&expand_value(found, values, depth + 1));
        rest = following;
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{expand, parse};

    fn check(text: &str, expect: &[(&str, &str)]) {
        let (pairs, errors) = parse(Path::new(".dev.vars"), text);
        assert!(errors.is_empty(), "{text}: {errors:?}");
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, expect, "{text}");
    }

    #[test]
    fn pairs() {
        check(
            "A=1\nB = two words  # not this\r\n\n# comment\nexport C=3",
            &[("A", "1"), ("B", "two words"), ("C", "3")],
        );
        check("A='it's so'\nB=\"x\" y", &[("A", "it's so"), ("B", "\"x\" y")]);
    }

    #[test]
    fn quotes() {
        check(r#"A="x # y" # z"#, &[("A", "x # y")]);
        check("A='x \"y\" $z'", &[("A", "x \"y\" $z")]);
        check("A=`it's \"so\"`", &[("A", "it's \"so\"")]);
        check("A=\"one\ntwo\\nthree\"\nB=2", &[("A", "one\ntwo\nthree"), ("B", "2")]);
        check(r"A='one\ntwo'", &[("A", r"one\ntwo")]);
        check("A=", &[("A", "")]);
        check("A: 1", &[("A", "1")]);
        check(r"PATH=C:\new\$dir", &[("PATH", r"C:\new\$dir")]);
        check("export=1", &[("export", "1")]);
    }

    #[test]
    fn mistakes_have_a_line() {
        let check = |text: &str, expect: &str| {
            let (_, errors) = parse(Path::new(".env"), text);
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), expect);
        };
        check(
            "A=1\nnonsense\nB=2\n",
            "error: this line is not NAME=value\n --> .env:2:1\n  |\n2 | nonsense\n  | ^^^^^^^^\n  = write NAME=value, one a line; comments begin with #",
        );
        check(
            "A=\"1\n",
            "error: this quote does not end\n --> .env:1:3\n  |\n1 | A=\"1\n  |   ^\n  = close it with the same quote",
        );
    }

    #[test]
    fn values_of_env_files_refer_to_each_other() {
        let values = [("A", "1"), ("B", "${A}2$C"), ("C", "x$A-${D:-none}"), ("E", r"\$A 5$ $"), ("F", "$F")];
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let expanded = expand(&values);
        assert_eq!(expanded["B"], "12x1-none");
        assert_eq!(expanded["C"], "x1-none");
        assert_eq!(expanded["E"], "$A 5$ $");
        assert_eq!(expanded["F"], "");
    }
}
