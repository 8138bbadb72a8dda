//! What comes in: axum's extractors, with errors of our shape.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ApiError;

const LIMIT: usize = 100;
const LIMIT_MAX: usize = 500;

/// A JSON body.
pub(crate) struct AJson<T>(pub(crate) T);
/// Parts of the path.
pub(crate) struct APath<T>(pub(crate) T);
/// What stands behind the question mark.
pub(crate) struct AQuery<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for AJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let axum::Json(mut value) = axum::Json::<Value>::from_request(request, state)
            .await
            .map_err(|error: JsonRejection| ApiError {
                status: error.status(),
                ..ApiError::bad(error.body_text())
            })?;
        whole_numbers(&mut value);
        serde_json::from_value(value)
            .map(Self)
            .map_err(|error| ApiError::bad(format!("the body is not what this takes: {error}")))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for APath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(value) = Path::from_request_parts(parts, state)
            .await
            .map_err(|error: PathRejection| ApiError::bad(error.body_text()))?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for AQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(value) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error: QueryRejection| ApiError::bad(error.body_text()))?;
        Ok(Self(value))
    }
}

/// To JSON Schema `5.0` is an integer, to serde it is none.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let float = number.as_f64().filter(|_| number.is_f64());
            // Beyond this, floats skip integers.
            let whole = float.filter(|float| float.fract() == 0.0 && float.abs() < 9e15);
            if let Some(whole) = whole {
                *value = Value::from(whole as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// How many items.
pub(crate) fn limit(asked: Option<usize>) -> Result<usize, ApiError> {
    match asked.unwrap_or(LIMIT) {
        n if (1..=LIMIT_MAX).contains(&n) => Ok(n),
        _ => Err(ApiError::bad(format!("limit is 1 to {LIMIT_MAX}"))),
    }
}

/// Where a piece begins.
pub(crate) fn offset(cursor: Option<&str>) -> Result<u64, ApiError> {
    match cursor.map(str::parse::<u32>) {
        None => Ok(0),
        Some(Ok(offset)) => Ok(u64::from(offset)),
        Some(Err(_)) => Err(ApiError::bad("cursor is none that was given out")),
    }
}
