//! An answer on its way to HTTP.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use serde_json::Value;

use super::body::{Pieces, gzip_cut};
use super::faults::Then;
use super::limits::Headers;

/// An answer before it becomes HTTP.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
    /// What is done to the body.
    pub(super) fault: Option<Arc<Then>>,
}

/// JSON; a string goes as plain text.
pub(super) fn reply(status: u16, body: &Value) -> Reply {
    match body {
        Value::String(text) => Reply::new(status, "text/plain; charset=utf-8", text.clone()),
        body => Reply::new(status, "application/json", body.to_string()),
    }
}

impl Reply {
    pub(super) fn new(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, kind, headers: Vec::new(), body: body.into(), fault: None }
    }

    pub(super) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn into_response(mut self) -> Response<Body> {
        let fault = self.fault.take().unwrap_or_default();
        if let Some(prefix) = &fault.prefix {
            self.body = [prefix.as_bytes(), &self.body].concat().into();
        }
        if fault.gzip_cut {
            self.body = gzip_cut(&self.body).into();
            self.headers.push(("content-encoding".to_owned(), "gzip".to_owned()));
        }
        if fault.announced {
            self.headers.push(("content-length".to_owned(), self.body.len().to_string()));
        }
        let body = match (fault.cut_body_at, fault.stall_body_at, fault.trickle) {
            (Some(length), _, _) => Body::new(Pieces::cut(self.body, length)),
            (None, Some(length), _) => Body::new(Pieces::stall(self.body, length)),
            (None, None, Some(trickle)) => Body::new(Pieces::trickle(self.body, trickle)),
            (None, None, None) => Body::from(self.body),
        };
        let mut response = Response::new(body);
        // The script was checked when it was read.
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
