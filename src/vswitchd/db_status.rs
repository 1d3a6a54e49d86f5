//! Writing back: what the database shows about the running switch.
//!
//! The caller says what every row should show; only columns that differ from what was last written are sent, in
//! one transaction at a time. After a lost connection or a refused transaction everything is sent again.

use ovsdb::{Datum, Row, Session, Transaction, TxnId};
use std::collections::HashMap;
use uuid::Uuid;

/// A row and what its status columns should show.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Table.
    pub(crate) table: &'static str,
    /// Row.
    pub(crate) uuid: Uuid,
    /// Columns.
    pub(crate) row: Row,
}

/// Remembers what was written.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    written: HashMap<(Uuid, String), Datum>,
    in_flight: Option<TxnId>,
}

impl Writer {
    /// Sends what differs; false when it must wait for an earlier transaction or a connection.
    pub(crate) fn write(&mut self, session: &mut Session, rows: &[Shown]) -> bool {
        if self.in_flight.is_some() || !session.is_ready() || !session.has_lock() {
            return false;
        }
        let mut txn = Transaction::new();
        let mut news = Vec::new();
        for shown in rows {
            let differs = |(column, value): &(&String, &Datum)| {
                session.schema().has(shown.table, column)
                    && self.written.get(&(shown.uuid, (*column).clone())) != Some(*value)
            };
            let row: Row = shown
                .row
                .iter()
                .filter(differs)
                .map(|(c, v)| (c.clone(), v.clone()))
                .collect();
            if !row.is_empty() {
                txn.update(shown.table, shown.uuid, &row);
                news.extend(row.into_iter().map(|(c, v)| ((shown.uuid, c), v)));
            }
        }
        if txn.is_empty() {
            return true;
        }
        self.in_flight = session.transact(&txn);
        if self.in_flight.is_some() {
            self.written.extend(news);
        }
        self.in_flight.is_some()
    }

    /// A transaction came to its end.
    pub(crate) fn finished(&mut self, id: TxnId, ok: bool) {
        if self.in_flight == Some(id) {
            self.in_flight = None;
            if !ok {
                self.written.clear();
            }
        }
    }

    /// The connection was lost.
    pub(crate) fn reset(&mut self) {
        self.written.clear();
        self.in_flight = None;
    }
}
