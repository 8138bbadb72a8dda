//! Devices and files.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use thymus_store::database::{
    AssetChange, DeviceDetail, DeviceFilter, DeviceItem, DeviceSort, FileFilter, Page,
};
use utoipa::IntoParams;

use super::incidents::{searched, unveiled, veiled_search};
use super::{AJson, APath, AQuery, Answer, limit, offset};
use crate::auth::Caller;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;

/// Items that are searched through where only pseudonyms may be searched for.
const VEILED_MAX: usize = 5_000;

/// Which devices.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeviceQuery {
    /// With this in a name, an address or a label.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Only those not known well yet, or only the others.
    cold: Option<bool>,
    /// In which order.
    #[serde(default)]
    sort: DeviceSort,
    /// Items at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the piece before.
    #[param(pattern = "^[0-9]{1,9}$")]
    cursor: Option<String>,
}

/// Which files.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FileQuery {
    /// With this outcome: `malicious`, `suspicious`, `clean` or `not_judged`.
    outcome: Option<String>,
    /// With this in path, digest or verdict.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Items at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the piece before.
    #[param(pattern = "^[0-9]{1,9}$")]
    cursor: Option<String>,
}

/// Devices.
#[utoipa::path(get, path = "/devices", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    params(DeviceQuery), responses((status = 200, body = Page<DeviceItem>), (status = 400, body = ErrorBody)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    AQuery(query): AQuery<DeviceQuery>,
) -> Answer<Page<DeviceItem>> {
    let mut filter = DeviceFilter {
        text: searched(query.q)?,
        cold: query.cold,
        sort: query.sort,
        offset: offset(query.cursor.as_deref())?,
        limit: limit(query.limit)?,
    };
    app.wait(move |app| {
        let database = app.evidence();
        let Some(text) = filter.text.clone().filter(|_| caller.session.pseudonymised) else {
            return Ok(Json(database.devices(&filter)?));
        };
        let (at, wanted) = (filter.offset as usize, filter.limit);
        (filter.text, filter.offset, filter.limit) = (None, 0, VEILED_MAX);
        let all = database.devices(&filter)?.items;
        veiled_search(app, all, &text, at, wanted).map(Json)
    })
    .await
}

/// One device and what was learned of it.
#[utoipa::path(get, path = "/devices/{entity}", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    params(("entity" = String, Path)), responses((status = 200, body = DeviceDetail),
    (status = 404, body = ErrorBody)))]
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(entity): APath<String>,
) -> Answer<DeviceDetail> {
    app.wait(move |app| {
        let entity = named(app, &caller, entity)?;
        Ok(Json(app.evidence().device(&entity)?))
    })
    .await
}

/// Labels a device, says what it is worth, notes something.
#[utoipa::path(patch, path = "/devices/{entity}", security(("session" = ["analyst"]), ("token" = ["analyst"])),
    params(("entity" = String, Path)), request_body = AssetChange,
    responses((status = 200, body = DeviceDetail), (status = 404, body = ErrorBody)))]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(entity): APath<String>,
    AJson(change): AJson<AssetChange>,
) -> Answer<DeviceDetail> {
    let actor = caller.actor(&app);
    let detail = app
        .wait(move |app| {
            let entity = named(app, &caller, entity)?;
            let database = app.evidence();
            database.change_asset(&actor, &entity, &change)?;
            Ok(database.device(&entity)?)
        })
        .await?;
    app.hub.tell("changed", json!({ "what": "device" }));
    Ok(Json(detail))
}

fn named(app: &App, caller: &Caller, entity: String) -> Result<String, ApiError> {
    if caller.session.pseudonymised {
        return unveiled(app, &entity);
    }
    Ok(entity)
}

/// Verdicts on files, the latest first.
#[utoipa::path(get, path = "/files", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    params(FileQuery), responses((status = 200, body = Page<Value>), (status = 400, body = ErrorBody)))]
pub(crate) async fn files(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    AQuery(query): AQuery<FileQuery>,
) -> Answer<Page<Value>> {
    let mut filter = FileFilter {
        outcome: query.outcome,
        text: searched(query.q)?,
        offset: offset(query.cursor.as_deref())?,
        limit: limit(query.limit)?,
    };
    app.wait(move |app| {
        let database = app.evidence();
        let Some(text) = filter.text.clone().filter(|_| caller.session.pseudonymised) else {
            return Ok(Json(database.files(&filter)?));
        };
        let (at, wanted) = (filter.offset as usize, filter.limit);
        (filter.text, filter.offset, filter.limit) = (None, 0, VEILED_MAX);
        let all = database.files(&filter)?.items;
        veiled_search(app, all, &text, at, wanted).map(Json)
    })
    .await
}
