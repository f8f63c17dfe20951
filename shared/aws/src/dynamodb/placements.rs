//! The table of placements: items, conditional changes, pages.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use clickledger_core::domain::ad::{Placement, SlotEntry};
use clickledger_core::domain::ids::{AdId, PlacementId, SlotName};
use clickledger_core::ports::{Changed, PortResult};

use super::conditional;
use super::item::{Item, item, list, n, number, optional_text, parsed, s};
use super::pages;
use crate::failure::{self, damaged};
use crate::patience::Patience;

/// The partition of the index that lists all placements.
const LISTED: &str = "placement";

fn to_item(placement: &Placement) -> Item {
    let entry =
        |entry: &SlotEntry| AttributeValue::M(item([("ad_id", n(entry.ad_id)), ("weight", n(entry.weight))]));
    let mut item = item([
        ("slot", s(placement.slot.as_str())),
        ("listed", s(LISTED)),
        ("placement_id", n(placement.placement_id)),
        (
            "entries",
            AttributeValue::L(placement.entries.iter().map(entry).collect()),
        ),
        ("version", n(placement.version)),
    ]);
    if let Some(site) = &placement.site {
        item.insert("site".to_owned(), s(site));
    }
    item
}

fn of_item(item: &Item) -> PortResult<Placement> {
    let entry = |value: &AttributeValue| {
        let entry = value.as_m().map_err(|_| damaged("entries"))?;
        Ok(SlotEntry {
            ad_id: AdId(number(entry, "ad_id")?),
            weight: number(entry, "weight")?,
        })
    };
    Ok(Placement {
        slot: parsed(item, "slot")?,
        placement_id: PlacementId(number(item, "placement_id")?),
        entries: list(item, "entries")?
            .iter()
            .map(entry)
            .collect::<PortResult<_>>()?,
        site: optional_text(item, "site")?.map(str::to_owned),
        version: number(item, "version")?,
    })
}

/// The table, through one client.
#[derive(Clone)]
pub(super) struct PlacementsTable {
    pub(super) client: Client,
    pub(super) table: String,
}

impl PlacementsTable {
    /// The placement of this slot, read strongly consistent.
    pub(super) async fn get(&self, slot: &SlotName, patience: Patience) -> PortResult<Option<Placement>> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .consistent_read(true)
            .key("slot", s(slot.as_str()));
        let read = || async { get.clone().send().await.map_err(failure::of_sdk) };
        let output = patience.run(read).await?;
        output.item.as_ref().map(of_item).transpose()
    }

    /// The placement of this id, by an index: one that was just made may not be found yet.
    pub(super) async fn by_id(&self, id: PlacementId, patience: Patience) -> PortResult<Option<Placement>> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by_placement")
            .key_condition_expression("placement_id = :id")
            .expression_attribute_values(":id", n(id));
        let items = pages::items(query, Some(1), patience).await?;
        items.first().map(of_item).transpose()
    }

    /// Stores the placement if the stored version is `expected` (`None`: if there is none). A slot keeps the id that it was
    /// made with.
    pub(super) async fn put(
        &self,
        placement: &Placement,
        expected: Option<u64>,
        patience: Patience,
    ) -> PortResult<Changed> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(placement)));
        let put = match expected {
            None => put.condition_expression("attribute_not_exists(slot)"),
            Some(expected) => put
                .condition_expression("version = :expected AND placement_id = :id")
                .expression_attribute_values(":expected", n(expected))
                .expression_attribute_values(":id", n(placement.placement_id)),
        };
        conditional::put(put, patience).await
    }

    /// Placements after `after` in the order of their slots, at most `limit`.
    pub(super) async fn list(
        &self,
        after: Option<&SlotName>,
        limit: usize,
        patience: Patience,
    ) -> PortResult<Vec<Placement>> {
        // '#' is below everything that a slot's name may begin with, and a key may not be empty.
        let after = after.map_or("#", SlotName::as_str);
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("listing")
            .key_condition_expression("listed = :listed AND slot > :after")
            .expression_attribute_values(":listed", s(LISTED))
            .expression_attribute_values(":after", s(after));
        let items = pages::items(query, Some(limit), patience).await?;
        items.iter().map(of_item).collect()
    }
}
