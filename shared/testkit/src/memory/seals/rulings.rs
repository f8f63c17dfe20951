//! Rulings: the first of a click and kind stands.

use async_trait::async_trait;
use clickledger_core::domain::ids::ClickId;
use clickledger_core::domain::ruling::{Ruling, RulingKind};
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{PortResult, Rulings};

use super::MemorySeals;

#[async_trait]
impl Rulings for MemorySeals {
    async fn rule(&self, ruling: Ruling) -> PortResult<Ruling> {
        let key = (Hour::of(ruling.click_id.unix_ms()), ruling.click_id, ruling.kind);
        Ok(*self.state.lock().rulings.entry(key).or_insert(ruling))
    }

    async fn of_hour(
        &self,
        hour: Hour,
        after: Option<(ClickId, RulingKind)>,
        limit: usize,
    ) -> PortResult<Vec<Ruling>> {
        let state = self.state.lock();
        let wanted =
            |(of, click, kind): &(Hour, ClickId, RulingKind)| *of == hour && Some((*click, *kind)) > after;
        let found = state.rulings.iter().filter(|(key, _)| wanted(key));
        Ok(found.map(|(_, ruling)| *ruling).take(limit).collect())
    }
}
