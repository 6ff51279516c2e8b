//! `multipart/form-data`: RFC 7578.

use bytes::Bytes;

/// A form that is being filled.
#[derive(Debug, Default)]
pub struct Form {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    name: String,
    /// Of a file; a plain field has none.
    content_type: Option<String>,
    content: Bytes,
}

impl Form {
    /// Adds a plain field.
    #[must_use]
    pub(crate) fn field(mut self, name: &str, content: impl Into<Bytes>) -> Self {
        self.parts.push(Part { name: name.to_owned(), content_type: None, content: content.into() });
        self
    }

    /// Adds a file whose name is the field's.
    #[must_use]
    pub(crate) fn file(mut self, name: &str, content_type: &str, content: impl Into<Bytes>) -> Self {
        let content_type = Some(content_type.to_owned());
        self.parts.push(Part { name: name.to_owned(), content_type, content: content.into() });
        self
    }

    /// The content type and the body. The boundary is made of the contents' hash, so that no content holds it.
    pub(crate) fn finish(self) -> (String, Bytes) {
        let mut hash = blake3::Hasher::new();
        for part in &self.parts {
            hash.update(&(part.content.len() as u64).to_le_bytes());
            hash.update(&part.content);
        }
        let boundary = format!("skep-{}", &hash.finalize().to_hex()[..32]);
        let size: usize = self.parts.iter().map(|part| part.content.len() + part.name.len() * 2 + 200).sum();
        let mut body = Vec::with_capacity(size);
        for part in &self.parts {
            let name = escaped(&part.name);
            body.extend_from_slice(
                format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes(),
            );
            if let Some(content_type) = &part.content_type {
                body.extend_from_slice(format!("; filename=\"{name}\"\r\nContent-Type: {content_type}").as_bytes());
            }
            body.extend_from_slice(b"\r\n\r\n");
            body.extend_from_slice(&part.content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        (format!("multipart/form-data; boundary={boundary}"), body.into())
    }

    /// The parts, for looking at them: name, content type, content.
    pub fn parts(&self) -> impl Iterator<Item = (&str, Option<&str>, &Bytes)> {
        self.parts.iter().map(|part| (part.name.as_str(), part.content_type.as_deref(), &part.content))
    }
}

/// A name between quotes, as browsers write it. <https://html.spec.whatwg.org/#multipart-form-data>
fn escaped(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn fields_and_files() {
        let form = Form::default().field("metadata", "{}").file("a\"b\n.js", "application/javascript+module", "x");
        let (content_type, body) = form.finish();
        let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
        let expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{{}}\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"a%22b%0A.js\"; filename=\"a%22b%0A.js\"\r\n\
             Content-Type: application/javascript+module\r\n\r\nx\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body.to_vec()).unwrap(), expected);
    }
}
