//! The templates: small programs, each in TypeScript and in JavaScript, each with a test.

use std::str::FromStr;

/// A program to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// One handler that greets.
    Hello,
    /// A JSON API without a framework.
    Router,
    /// A JSON API with Hono.
    Hono,
    /// A program that runs by the clock.
    Scheduled,
    /// A WebSocket server.
    WebSocket,
    /// A page that is changed on its way.
    HtmlRewriter,
    /// An answer that is kept in the cache.
    Cache,
    /// A reverse proxy.
    Proxy,
}

/// The language of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// TypeScript.
    #[default]
    TypeScript,
    /// JavaScript.
    JavaScript,
}

impl Language {
    /// The extension of its files.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::TypeScript => "ts",
            Self::JavaScript => "js",
        }
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ts" | "typescript" => Ok(Self::TypeScript),
            "js" | "javascript" => Ok(Self::JavaScript),
            _ => Err(format!("there is no language \"{text}\": choose ts or js")),
        }
    }
}

/// A template's files in one language.
pub(crate) struct Source {
    /// `src/index`
    pub(crate) program: &'static str,
    /// `test/index.spec`
    pub(crate) test: &'static str,
}

macro_rules! sources {
    ($language:expr, $name:literal) => {
        match $language {
            Language::TypeScript => Source {
                program: include_str!(concat!("../templates/", $name, "/src/index.ts")),
                test: include_str!(concat!("../templates/", $name, "/test/index.spec.ts")),
            },
            Language::JavaScript => Source {
                program: include_str!(concat!("../templates/", $name, "/src/index.js")),
                test: include_str!(concat!("../templates/", $name, "/test/index.spec.js")),
            },
        }
    };
}

impl Template {
    /// Every template.
    pub const ALL: [Self; 8] = [
        Self::Hello,
        Self::Router,
        Self::Hono,
        Self::Scheduled,
        Self::WebSocket,
        Self::HtmlRewriter,
        Self::Cache,
        Self::Proxy,
    ];

    /// Its name on the command line, and of its folder in `templates/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Router => "router",
            Self::Hono => "hono",
            Self::Scheduled => "scheduled",
            Self::WebSocket => "websocket",
            Self::HtmlRewriter => "html-rewriter",
            Self::Cache => "cache",
            Self::Proxy => "proxy",
        }
    }

    /// What it is, in one line.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Hello => "A Worker that greets.",
            Self::Router => "A small JSON API without a framework.",
            Self::Hono => "A small JSON API with the framework Hono.",
            Self::Scheduled => "A Worker that runs by the clock.",
            Self::WebSocket => "A WebSocket server.",
            Self::HtmlRewriter => "A Worker that changes a page while it streams through.",
            Self::Cache => "A Worker that keeps expensive answers in the cache.",
            Self::Proxy => "A reverse proxy.",
        }
    }

    pub(crate) fn source(self, language: Language) -> Source {
        match self {
            Self::Hello => sources!(language, "hello"),
            Self::Router => sources!(language, "router"),
            Self::Hono => sources!(language, "hono"),
            Self::Scheduled => sources!(language, "scheduled"),
            Self::WebSocket => sources!(language, "websocket"),
            Self::HtmlRewriter => sources!(language, "html-rewriter"),
            Self::Cache => sources!(language, "cache"),
            Self::Proxy => sources!(language, "proxy"),
        }
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|template| template.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            match skep_worker::compatibility::nearest(text, names) {
                Some(nearest) => format!("there is no template \"{text}\": did you mean {nearest}?"),
                None => format!("there is no template \"{text}\": choose one of {}", names.join(", ")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Template;

    #[test]
    fn templates_have_names() {
        for template in Template::ALL {
            assert_eq!(template.name().parse(), Ok(template));
        }
        assert_eq!("helo".parse::<Template>(), Err("there is no template \"helo\": did you mean hello?".to_owned()));
        assert!(
            "something"
                .parse::<Template>()
                .unwrap_err()
                .ends_with("choose one of hello, router, hono, scheduled, websocket, html-rewriter, cache, proxy")
        );
    }
}
