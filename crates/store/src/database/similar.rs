//! Devices that do the same.

use rusqlite::{Connection, params};
use serde::Serialize;
use utoipa::ToSchema;

const SIMILAR_SHOWN: usize = 5;

/// A device that does the same.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Similar {
    /// Who.
    pub entity: String,
    /// For people.
    pub name: String,
    /// Share of what both do in what either does.
    pub score: f64,
    /// Some of what both do.
    pub shared: Vec<String>,
}

/// Devices with the most habits in common, as a share of what either does.
pub(super) fn similar(
    connection: &Connection,
    entity: &str,
) -> Result<Vec<Similar>, rusqlite::Error> {
    let mut query = connection.prepare_cached(
        "WITH mine AS (SELECT DISTINCT h.peer, h.service, h.direction FROM addresses a
            JOIN habits h ON h.addr = a.addr WHERE a.entity = ?1 AND h.peer <> '*'),
         both AS (SELECT a.entity, COUNT(*) AS n,
                group_concat(mine.service || ' ' || mine.direction || ' ' || mine.peer, char(10)) AS shared
            FROM mine JOIN habits h ON h.peer = mine.peer AND h.service = mine.service
                AND h.direction = mine.direction
            JOIN addresses a ON a.addr = h.addr AND a.entity <> ?1 GROUP BY a.entity)
         SELECT both.entity, d.name, both.n * 1.0 / MAX(1, (SELECT COUNT(*) FROM mine) - both.n +
            (SELECT COUNT(*) FROM addresses a JOIN habits h ON h.addr = a.addr AND h.peer <> '*'
             WHERE a.entity = both.entity)) AS score, both.shared
         FROM both JOIN devices d ON d.entity = both.entity ORDER BY score DESC, both.entity LIMIT ?2",
    )?;
    query
        .query_map(params![entity, SIMILAR_SHOWN], |row| {
            let shared: String = row.get(3)?;
            Ok(Similar {
                entity: row.get(0)?,
                name: row.get(1)?,
                score: row.get::<_, f64>(2)?.clamp(0.0, 1.0),
                shared: shared.lines().take(5).map(str::to_owned).collect(),
            })
        })?
        .collect()
}
