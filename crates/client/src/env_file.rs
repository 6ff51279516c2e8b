//! The three variables that wrangler needs, as lines for a shell and in a project's `.env`.

use std::path::Path;

use crate::error::{Error, Result};
use crate::login::write_private;

/// The names, in the order in which they are written.
pub const NAMES: [&str; 3] = ["CLOUDFLARE_API_BASE_URL", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID"];

/// Each name with its value.
pub type Values<'v> = [(&'v str, &'v str); 3];

/// A value in quotes that a shell takes literally.
pub fn for_shell(value: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./:=@%+,".contains(char);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Writes the variables into a `.env`: their lines are replaced, or added at the end; all else stays as it is. Afterwards only its
/// owner may read the file. A link stays a link.
///
/// # Errors
/// When it cannot be read or written.
pub fn write(path: &Path, values: &Values<'_>) -> Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::file(&path)(error)),
    };
    write_private(&path, &replaced(&text, values))
}

/// The text with the variables in it.
fn replaced(text: &str, values: &Values<'_>) -> String {
    let mut written = String::with_capacity(text.len() + 200);
    let mut found = [false; 3];
    for line in text.split_inclusive('\n') {
        let at = values.iter().position(|(name, _)| sets(line, name));
        match at {
            // Of two lines the later one counts: both get the value.
            Some(index) => {
                found[index] = true;
                let end = &line[line.trim_end_matches(['\r', '\n']).len()..];
                written += &format!("{}={}{end}", values[index].0, values[index].1);
            }
            None => written += line,
        }
    }
    for ((name, value), _) in values.iter().zip(found).filter(|(_, found)| !found) {
        if !written.is_empty() && !written.ends_with('\n') {
            written.push('\n');
        }
        written += &format!("{name}={value}\n");
    }
    written
}

/// Whether a line gives a variable its value.
fn sets(line: &str, name: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const VALUES: Values<'_> = [(NAMES[0], "http://x/client/v4"), (NAMES[1], "t"), (NAMES[2], "a")];

    #[test]
    fn only_the_three_lines_change() {
        let check = |text: &str, expect: &str| {
            assert_eq!(replaced(text, &VALUES), expect);
            assert_eq!(replaced(expect, &VALUES), expect, "twice is once");
        };
        let all = "CLOUDFLARE_API_BASE_URL=http://x/client/v4\nCLOUDFLARE_API_TOKEN=t\nCLOUDFLARE_ACCOUNT_ID=a\n";
        check("", all);
        check("A=1", &format!("A=1\n{all}"));
        check(
            "# mine\nexport CLOUDFLARE_API_TOKEN = old # why\r\n\nB='x\ny'\nCLOUDFLARE_API_TOKENS=keep\n#CLOUDFLARE_ACCOUNT_ID=no\n",
            "# mine\nCLOUDFLARE_API_TOKEN=t\r\n\nB='x\ny'\nCLOUDFLARE_API_TOKENS=keep\n#CLOUDFLARE_ACCOUNT_ID=no\n\
             CLOUDFLARE_API_BASE_URL=http://x/client/v4\nCLOUDFLARE_ACCOUNT_ID=a\n",
        );
    }

    #[test]
    fn a_file_is_for_its_owner_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "A=1\n").unwrap();
        write(&path, &VALUES).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("A=1\nCLOUDFLARE_API_BASE_URL="));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&link, &[(NAMES[0], "http://y"), (NAMES[1], "t"), (NAMES[2], "a")]).unwrap();
        assert!(link.is_symlink());
        assert!(std::fs::read_to_string(&path).unwrap().contains("http://y"));
    }

    #[test]
    fn a_shell_takes_values_literally() {
        for (value, shown) in
            [("http://x:1/client/v4", "http://x:1/client/v4"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("", "''")]
        {
            assert_eq!(for_shell(value), shown);
        }
    }
}
