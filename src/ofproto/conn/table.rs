//! Tables: mods, statistics, descriptions, features.

use super::stream::Stream;
use super::{Controllers, Cx};
use crate::event::ConnId;
use crate::switch::Ofproto;
use crate::table_state::{NameLevel, TABLE_ENTRIES_MAX};
use crate::tables::INTERNAL_TABLE;
use base::log::RateLimit;
use openflow::flow_mod::ALL_TABLES;
use openflow::{
    ALL_INSTRUCTIONS, ActionAbilities, ActionKinds, FieldSet, Header, Message, Multipart, OfpError,
    TableAbilities, TableDesc, TableFeatures, TableFeaturesCommand, TableMod, TableStats,
    TableVacancy,
};

/// What evictions go by: other reasons, importance, lifetime (`OFPTMPEF14_*`).
const EVICTION_FLAGS: u32 = 7;
/// The bit of the goto-table instruction.
const GOTO_TABLE: u32 = 1 << 1;

static LOG: RateLimit = RateLimit::new(1, 5);

type Verdict = Result<(), OfpError>;

/// Description of a table.
pub(crate) fn desc(of: &Ofproto, table: u8) -> TableDesc {
    let state = of.state(table);
    TableDesc {
        table_id: table,
        eviction: state.evict_by_openflow,
        eviction_flags: Some(EVICTION_FLAGS),
        vacancy_events: state.vacancy_event.is_some(),
        vacancy: TableVacancy {
            down: state.vacancy_down,
            up: state.vacancy_up,
            now: state.vacancy(),
        },
    }
}

/// Features of a table.
pub(crate) fn features(of: &Ofproto, table: u8) -> TableFeatures {
    let state = of.state(table);
    let mut nonmiss = TableAbilities {
        instructions: ALL_INSTRUCTIONS,
        ..TableAbilities::default()
    };
    (table + 1..INTERNAL_TABLE).for_each(|t| nonmiss.next.insert(t));
    if table + 1 >= INTERNAL_TABLE {
        nonmiss.instructions &= !GOTO_TABLE;
    }
    nonmiss.write = ActionAbilities {
        actions: ActionKinds::all(),
        set_fields: FieldSet::writable(),
    };
    nonmiss.apply = nonmiss.write;
    TableFeatures {
        table_id: table,
        name: state.name().to_owned(),
        metadata_match: u64::MAX,
        metadata_write: u64::MAX,
        miss_config: of.pipeline().tables.table(table).miss(),
        supports_eviction: Some(false),
        supports_vacancy_events: Some(false),
        max_entries: state.max_flows.min(TABLE_ENTRIES_MAX),
        any_properties: true,
        nonmiss,
        miss: nonmiss,
        match_: FieldSet::matchable(),
        mask: FieldSet::maskable(),
        wildcard: FieldSet::matchable(),
        ..TableFeatures::default()
    }
}

/// Puts the features of the next table. True when there are more.
pub(crate) fn push_features(of: &Ofproto, next: &mut u8, parts: &mut Multipart) -> bool {
    if *next < INTERNAL_TABLE {
        parts.push_table_features(&features(of, *next));
        *next += 1;
    }
    *next < INTERNAL_TABLE
}

impl Controllers {
    pub(crate) fn table_stats(&mut self, cx: &Cx<'_>, (id, header): (ConnId, &Header)) -> Verdict {
        let version = self.conn(id)?.version();
        let mut parts = super::requests::multipart(header, version)?;
        for t in 0..INTERNAL_TABLE {
            let table = cx.of.pipeline().tables.table(t);
            let hidden = if t == 0 { cx.of.hidden_flows() } else { 0 };
            let (matched, missed) = (table.matched.get(), table.missed.get());
            let stats = TableStats {
                table_id: t,
                active_count: cx.of.state(t).n_flows.saturating_sub(hidden),
                lookup_count: matched.wrapping_add(missed),
                matched_count: matched,
            };
            parts.push_table_stats(&stats, &features(cx.of, t));
        }
        let conn = self.conn(id)?;
        for message in parts.finish() {
            conn.out.push(super::out::OutKind::Reply, message);
        }
        Ok(())
    }

    pub(crate) fn table_descs(&mut self, cx: &Cx<'_>, to: (ConnId, &Header)) -> Verdict {
        let descs = (0..INTERNAL_TABLE).map(|t| desc(cx.of, t)).collect();
        self.reply(cx, to, &Message::TableDescReply(descs))
    }

    pub(crate) fn table_mod(&mut self, cx: &mut Cx<'_>, id: ConnId, tm: &TableMod) -> Verdict {
        self.writable(id)?;
        if tm.table_id == INTERNAL_TABLE {
            return Err(OfpError::OFPTMFC_EPERM);
        }
        if tm.eviction_flags.is_some_and(|f| f != EVICTION_FLAGS) {
            return Err(OfpError::OFPTMFC_BAD_CONFIG);
        }
        match tm.table_id {
            ALL_TABLES => (0..INTERNAL_TABLE).for_each(|t| cx.of.apply_table_mod(t, tm)),
            t => cx.of.apply_table_mod(t, tm),
        }
        Ok(())
    }

    /// Changes features if there is something to change, and answers with those in force.
    pub(crate) fn table_features(
        &mut self,
        cx: &mut Cx<'_>,
        (id, header): (ConnId, &Header),
        wanted: &[TableFeatures],
    ) -> Verdict {
        let version = self.conn(id)?.version();
        if !wanted.is_empty() {
            change_features(cx.of, wanted)?;
        }
        let parts = super::requests::multipart(header, version)?;
        self.conn(id)?.stream = Some(Box::new(Stream::TableFeatures(0, parts)));
        Ok(())
    }
}

/// Refuses a change of features, saying why in the log.
macro_rules! refuse {
    ($error:ident, $($text:tt)+) => {{
        base::log_rl!(LOG, INFO, "ofproto", $($text)+);
        return Err(OfpError::$error);
    }};
}

/// Tables cannot be added, removed or made to do more; their names can change.
pub(crate) fn change_features(of: &mut Ofproto, wanted: &[TableFeatures]) -> Verdict {
    let mut new: Vec<Option<TableFeatures>> = vec![None; 256];
    for f in wanted {
        let place = &mut new[usize::from(f.table_id)];
        if place.is_some() {
            refuse!(NXTFFC_DUP_TABLE, "duplicate table {}", f.table_id);
        }
        *place = Some(f.clone());
    }
    if new[usize::from(INTERNAL_TABLE)].is_some() {
        refuse!(OFPTFFC_EPERM, "can't modify hidden table {INTERNAL_TABLE}");
    }
    match wanted[0].command {
        TableFeaturesCommand::Replace => {}
        TableFeaturesCommand::Modify => {
            for t in 0..INTERNAL_TABLE {
                let old = features(of, t);
                let place = &mut new[usize::from(t)];
                *place = Some(match place.take() {
                    None => old,
                    Some(f) if f.any_properties => f,
                    Some(f) => TableFeatures {
                        any_properties: old.any_properties,
                        nonmiss: old.nonmiss,
                        miss: old.miss,
                        match_: old.match_,
                        mask: old.mask,
                        wildcard: old.wildcard,
                        ..f
                    },
                });
            }
        }
        // There are no tables outside of the pipeline.
        _ => return Err(OfpError::OFPTFFC_EPERM),
    }
    check_features(of, &new)?;
    for (t, f) in (0..INTERNAL_TABLE).zip(new) {
        if let Some(f) = f {
            of.state_mut(t).set_name(Some(&f.name), NameLevel::OpenFlow);
        }
    }
    Ok(())
}

fn check_features(of: &Ofproto, new: &[Option<TableFeatures>]) -> Verdict {
    if new[usize::from(ALL_TABLES)].is_some() {
        refuse!(
            OFPTFFC_TOO_MANY,
            "can't change number of tables from 255 to 256"
        );
    }
    let missing = (0..INTERNAL_TABLE).find(|t| new[usize::from(*t)].is_none());
    if let Some(t) = missing {
        refuse!(OFPTFFC_EPERM, "can't disable table {t}");
    }
    let pairs = || {
        (0..INTERNAL_TABLE)
            .zip(new.iter().flatten())
            .map(|(t, f)| (t, features(of, t), f))
    };
    if pairs().any(|(_, old, f)| old.max_entries != f.max_entries) {
        refuse!(OFPTFFC_EPERM, "can't change max_entries");
    }
    for (t, old, f) in pairs() {
        if !of.state(t).may_set_name(&f.name, NameLevel::OpenFlow) {
            refuse!(
                OFPTFFC_EPERM,
                "can't change name of table {t} to {} because it is already set to {} via OVSDB",
                f.name,
                old.name
            );
        }
    }
    if let Some((t, ..)) = pairs().find(|(_, old, f)| !old.is_superset(f)) {
        refuse!(OFPTFFC_EPERM, "can't increase table features for table {t}");
    }
    Ok(())
}
