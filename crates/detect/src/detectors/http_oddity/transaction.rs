//! How odd a single HTTP transaction is, programs apart, which have a detector of their own.

use thymus_schema::HttpTransaction;

use crate::domains;
use crate::fetch;

/// The odd weight of one transaction with a name for it.
pub(super) fn oddity(http: &HttpTransaction, is_bare: bool) -> (f64, &'static str) {
    if !fetch::is_given(http) {
        return (0.0, "");
    }
    let bare = if is_bare { 0.6 } else { 0.0 };
    let flash = http.content_type.contains("shockwave-flash");
    if flash && http.response_len > 1_024 && fetch::extension(&http.uri) != "swf" {
        return (0.5 + bare, "active content without a file's name");
    }
    let long = http.uri.len() > 600 && domains::entropy(http.uri.as_bytes()) > 5.2 && is_bare;
    if long {
        (1.0 + bare, "a very long encoded address")
    } else {
        (0.0, "")
    }
}
