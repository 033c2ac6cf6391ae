//! What OpenRouter tells about a key and a model, for those who ask at their start.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use serde_json::json;

use super::profile::Profile;
use super::reply::reply;
use super::request::CONTEXT;
use super::shape;
use super::shared::Shared;

/// `GET /key`: what the key may do and has used.
pub(super) async fn key(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    if shared.profile != Profile::OpenRouter {
        return nowhere(shared.profile);
    }
    let caller = match shared.authorise(&headers, &uri) {
        Ok(caller) => caller,
        Err(refused) => return refused.into_response(),
    };
    let label = shared.label(caller);
    let usage = shared.ledger().keys.get(&label).map_or(0.0, |bill| bill.cost_usd);
    let told = json!({"data": {
        "label": label,
        "limit": null,
        "limit_remaining": null,
        "limit_reset": null,
        "usage": usage,
        "usage_daily": usage,
        "is_free_tier": false,
        "expires_at": null,
    }});
    reply(200, &told).into_response()
}

/// `GET /models/{author}/{slug}/endpoints`: who serves the model. Any model is served by us.
pub(super) async fn endpoints(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    if shared.profile != Profile::OpenRouter {
        return nowhere(shared.profile);
    }
    let path = uri.path().trim_end_matches("/endpoints");
    let model = path.split_once("/models/").map_or("", |(_, model)| model);
    let told = json!({"data": {"id": model, "name": model, "endpoints": [{
        "name": format!("Simulator | {model}"),
        "provider_name": "Simulator",
        "tag": "simulator",
        "context_length": CONTEXT,
        "max_prompt_tokens": CONTEXT,
        "pricing": {"prompt": shared.price_of_a_token(), "completion": "0"},
        "quantization": "fp16",
        "status": 0,
        "supported_parameters": [],
    }]}});
    reply(200, &told).into_response()
}

/// What is not there.
pub(super) fn nowhere(profile: Profile) -> Response<Body> {
    reply(404, &shape::error(profile, 404, Some("Not Found"), None)).into_response()
}
