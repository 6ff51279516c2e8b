//! Statuses and cursors as people write and send them.

use super::{Query, SearchError, Status};

#[test]
fn a_status_is_a_number_a_class_or_error() {
    let check = |text: &str, expect: Option<Status>| {
        assert_eq!(text.parse().ok(), expect, "{text}");
        assert!(expect.is_none_or(|status| status.to_string() == text), "{text}");
    };
    check("404", Some(Status::Exactly(404)));
    check("5xx", Some(Status::Class(5)));
    check("error", Some(Status::Error));
    for wrong in ["", "xx", "0xx", "10xx", "5x", "44", "1000", "-404", "Error", "errors"] {
        check(wrong, None);
    }
    assert_eq!(
        "oops".parse::<Status>().unwrap_err().to_string(),
        "\"oops\" is no status: use a number as 404, a class as 5xx, or error"
    );
}

#[test]
fn a_cursor_is_of_its_query() {
    let query = Query::new("a");
    let cursor = Some(query.cursor_at(u64::MAX - 1));
    assert_eq!(Query { cursor: cursor.clone(), limit: 7, ..query.clone() }.below(), Ok(Some(u64::MAX - 1)));
    let others = [
        Query { account: "b".to_owned(), cursor: cursor.clone(), ..Query::new("") },
        Query { worker: Some("shop".to_owned()), cursor: cursor.clone(), ..query.clone() },
        Query { since: Some(1), cursor, ..query.clone() },
    ];
    for other in others {
        assert_eq!(other.below(), Err(SearchError::Cursor), "{other:?}");
    }
    for wrong in ["", "1", "é".repeat(16).as_str(), "0".repeat(32).as_str(), "x".repeat(1000).as_str()] {
        assert_eq!(
            Query { cursor: Some(wrong.to_owned()), ..query.clone() }.below(),
            Err(SearchError::Cursor),
            "{wrong}"
        );
    }
}
