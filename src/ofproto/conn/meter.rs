//! Meters: mods, statistics, configuration, features.

use super::{Controllers, Cx};
use crate::event::{ConnId, Requester};
use crate::meter::Meter;
use openflow::{
    Header, METER_ALL, METER_CONTROLLER, METER_MAX, METER_SLOWPATH, Message, MeterCommand,
    MeterMod, MeterStats, OfpError,
};

type Verdict = Result<(), OfpError>;

impl Controllers {
    pub(crate) fn meter_mod(&mut self, cx: &mut Cx<'_>, by: Requester, mm: MeterMod) -> Verdict {
        self.writable(by.conn)?;
        let id = mm.meter.meter_id;
        if mm.command != MeterCommand::Delete {
            let features = cx.provider.meter_features();
            let real =
                (1..=METER_MAX).contains(&id) || [METER_SLOWPATH, METER_CONTROLLER].contains(&id);
            if features.max_meters == 0 || !real {
                return Err(OfpError::OFPMMFC_INVALID_METER);
            }
            if mm.meter.bands.len() > usize::from(features.max_bands) {
                return Err(OfpError::OFPMMFC_OUT_OF_BANDS);
            }
        }
        match mm.command {
            MeterCommand::Add => add(cx, &mm)?,
            MeterCommand::Modify => modify(cx, &mm)?,
            MeterCommand::Delete => delete(cx, id),
        }
        self.forward_meter_mod(cx, by, mm);
        Ok(())
    }

    /// Statistics or configuration of a meter, or all.
    pub(crate) fn meters(
        &mut self,
        cx: &mut Cx<'_>,
        to: (ConnId, &Header),
        id: u32,
        statistics: bool,
    ) -> Verdict {
        let meters = if id == METER_ALL {
            cx.of.pipeline().meters.all()
        } else {
            let one = cx.of.pipeline().meters.get(id);
            vec![one.ok_or(OfpError::OFPMMFC_UNKNOWN_METER)?]
        };
        let message = if statistics {
            let stats = meters.iter().filter_map(|m| stats(cx, m)).collect();
            Message::MeterStatsReply(stats)
        } else {
            Message::MeterConfigReply(meters.iter().map(|m| m.config.clone()).collect())
        };
        self.reply(cx, to, &message)
    }
}

fn stats(cx: &mut Cx<'_>, meter: &Meter) -> Option<MeterStats> {
    let counted = cx.provider.meter_stats(meter)?;
    Some(MeterStats {
        meter_id: meter.id,
        flow_count: u32::try_from(cx.of.meter_users(meter.id)).unwrap_or(u32::MAX),
        duration: super::stream::duration(meter.created, cx.now),
        ..counted
    })
}

fn add(cx: &mut Cx<'_>, mm: &MeterMod) -> Verdict {
    let id = mm.meter.meter_id;
    if cx.of.pipeline().meters.get(id).is_some() {
        return Err(OfpError::OFPMMFC_METER_EXISTS);
    }
    let provider_id = cx.provider.meter_set(None, &mm.meter)?;
    cx.of.install_meter(Meter {
        id,
        provider_id,
        config: mm.meter.clone(),
        created: cx.now,
    });
    Ok(())
}

fn modify(cx: &mut Cx<'_>, mm: &MeterMod) -> Verdict {
    let old = cx.of.pipeline().meters.get(mm.meter.meter_id);
    let old = old.ok_or(OfpError::OFPMMFC_UNKNOWN_METER)?;
    cx.provider.meter_set(Some(old.provider_id), &mm.meter)?;
    cx.of.install_meter(Meter {
        config: mm.meter.clone(),
        ..(*old).clone()
    });
    Ok(())
}

fn delete(cx: &mut Cx<'_>, id: u32) {
    let ids: Vec<u32> = if id == METER_ALL {
        cx.of.pipeline().meters.all().iter().map(|m| m.id).collect()
    } else {
        vec![id]
    };
    for id in ids {
        if let Some(meter) = cx.of.remove_meter(id, cx.now) {
            cx.provider.meter_del(meter.provider_id);
        }
    }
}
