//! What goes wrong, for the one who starts the server and for the one who asks it.

use std::io;
use std::path::PathBuf;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use thymus_store::DatabaseError;
use utoipa::ToSchema;

use crate::state::HostError;

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Threads cannot be started.
    #[error("cannot start the threads of the server")]
    Threads(#[source] io::Error),
    /// A key or certificate cannot be used.
    #[error("cannot use {} for TLS: {why}", path.display())]
    Tls {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A route does not say who may use it.
    #[error("the route {0} does not say who may use it")]
    Route(String),
}

/// What an answer says that is no success.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// The error.
    pub(crate) error: ErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// For programs.
    pub(crate) code: String,
    /// For people.
    pub(crate) message: String,
}

/// An answer that is no success.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) retry_secs: Option<u64>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_secs: None,
        }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    pub(crate) fn too_many(retry_secs: u64) -> Self {
        Self {
            retry_secs: Some(retry_secs.max(1)),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                format!("too many requests; try again in {} s", retry_secs.max(1)),
            )
        }
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong in the server",
        )
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        let (status, code) = match &error {
            DatabaseError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            DatabaseError::Refused(_) => (StatusCode::BAD_REQUEST, "refused"),
            DatabaseError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            DatabaseError::Denied(_) => (StatusCode::FORBIDDEN, "denied"),
            DatabaseError::Full { .. } => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
            DatabaseError::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            DatabaseError::Damaged { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "damaged"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<HostError> for ApiError {
    fn from(error: HostError) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            error.to_string(),
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = ErrorDetail {
            code: self.code.to_owned(),
            message: self.message,
        };
        let body = ErrorBody {
            error: error.clone(),
        };
        let mut response = (self.status, axum::Json(body)).into_response();
        // For those who have words of their own for it.
        response.extensions_mut().insert(error);
        if let Some(secs) = self.retry_secs {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}
