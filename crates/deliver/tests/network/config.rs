//! Configurations that make no sense: each says which key it is, and what to do. None shows a secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_deliver::{Destination, Limits};

use crate::senders;

const HOOK: &str = "[ops]\ntype = \"webhook\"\nurl = \"https://hooks.example/SECRETpath\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n";
const MAIL: &str =
    "[mail]\ntype = \"email\"\nhost = \"mail.example\"\nfrom = \"skep@example.com\"\nto = [\"ops@example.com\"]\n";
const STRIPE: &str = "[stripe]\ntype = \"stripe\"\nkey = \"rk_live_SECRET\"\n";
const METER: &str = "[meter]\ntype = \"openmeter\"\nurl = \"https://openmeter.example\"\ntoken = \"SECRETtoken\"\n";

fn check(config: &str) -> Result<(), String> {
    senders(config, &Limits::default(), Arc::new(|_| {})).map(drop)
}

#[tokio::test]
async fn good_configurations_are_taken() {
    for config in [HOOK, MAIL, STRIPE, METER] {
        assert_eq!(check(config), Ok(()), "{config}");
    }
    let more = "port = 2525\ntls = \"implicit\"\nuser = \"skep\"\npassword = \"SECRET\"\n";
    assert_eq!(check(&format!("{MAIL}{more}")), Ok(()));
    let local = MAIL.replace("mail.example", "127.0.0.1");
    assert_eq!(check(&format!("{local}tls = \"none\"\n")), Ok(()));
    assert_eq!(check(&METER.replace("https", "http").replace("token = \"SECRETtoken\"\n", "")), Ok(()));
    assert_eq!(check(&METER.replace("https://openmeter.example", "http://127.0.0.1:8888")), Ok(()));
}

#[tokio::test]
async fn mistakes_name_the_key_and_say_what_to_do() {
    let long = |config: &str, line: &str| format!("{config}{line}\n");
    for (config, expected) in [
        (HOOK.replace("https://hooks.example/SECRETpath", "hooks"), "destinations.ops.url: it is no URL (relative URL"),
        (HOOK.replace("https", "ftp"), "destinations.ops.url: its scheme is neither https nor http: use one of them"),
        (HOOK.replace("hooks.", "me:SECRET@hooks."), "destinations.ops.url: it has a user or a password in it"),
        (HOOK.replace("SECRETpath", "#x"), "destinations.ops.url: it has a fragment"),
        (HOOK.replace("whsec_", ""), "destinations.ops.secret: it does not begin with \"whsec_\""),
        (HOOK.replace("secret =", "secrets ="), "unknown field `secrets`"),
        (HOOK.replace("webhook", "pager"), "unknown variant `pager`"),
        (long(MAIL, "tls = \"none\""), "destinations.mail.tls: \"none\" is for this machine only"),
        (long(MAIL, "tls = \"yes\""), "unknown variant `yes`"),
        (long(MAIL, "user = \"skep\""), "destinations.mail.password: there is a user without one: add it"),
        (long(MAIL, "password = \"SECRET\""), "destinations.mail.user: there is a password without one: add it"),
        (long(MAIL, "root = \"/nowhere.pem\""), "destinations.mail.root: /nowhere.pem: No such file"),
        (MAIL.replace("mail.example", "mail.example:25"), "destinations.mail.host: it is no name or address"),
        (MAIL.replace("skep@example.com", "skep"), "destinations.mail.from: \"skep\" is no address"),
        (MAIL.replace("ops@example.com", "ops@"), "destinations.mail.to: \"ops@\" is no address"),
        (MAIL.replace("\"ops@example.com\"", ""), "destinations.mail.to: it is empty: write who gets the alerts"),
        (STRIPE.replace("rk_live", "pk_live"), "destinations.stripe.key: it is neither a secret nor a restricted key"),
        (STRIPE.replace("SECRET", "SECRET\\n"), "destinations.stripe.key: it has characters that no header may have"),
        (long(STRIPE, "url = \"http://stripe.example\""), "destinations.stripe.url: a secret would be sent to it"),
        (METER.replace("https", "http"), "destinations.meter.url: a secret would be sent to it without encryption"),
        (long(METER, "source = \"\""), "destinations.meter.source: it is empty"),
    ] {
        let error = check(&config).expect_err(expected);
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("SECRET") && !error.contains("MfKQ9r8G"), "{error}");
    }
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    let mail = format!("{MAIL}user = \"skep\"\npassword = \"SECRET\"\n");
    let config = [HOOK, &mail, STRIPE, METER].concat();
    let destinations: BTreeMap<String, Destination> = toml::from_str(&config).unwrap();
    let printed = format!("{destinations:#?}");
    assert!(printed.contains("Endpoint(https://hooks.example)") && printed.contains("mail.example"), "{printed}");
    let made = format!("{:?}", senders(&config, &Limits::default(), Arc::new(|_| {})).unwrap());
    assert_eq!(made, r#"{"mail", "meter", "ops", "stripe"}"#);
    assert!(!printed.contains("SECRET") && !printed.contains("MfKQ9r8G"), "{printed}");
    let (hook, stripe) = (&destinations["ops"], &destinations["stripe"]);
    assert!(hook.takes_alerts() && hook.takes_usage() && !stripe.takes_alerts() && stripe.takes_usage());
    assert!(destinations["mail"].takes_alerts() && !destinations["mail"].takes_usage());
}
