//! Every record there and back.

use super::*;

const DIGEST: u64 = 0x0123_4567_89ab_cdef;

fn requests() -> Vec<ToGuardian> {
    let mut all = vec![
        ToGuardian::OpenControl,
        ToGuardian::OpenFifo,
        ToGuardian::OpenClients,
        ToGuardian::OpenMembership,
        ToGuardian::OpenLines,
        ToGuardian::SetOwner { is_owner: true },
        ToGuardian::SetOwner { is_owner: false },
        ToGuardian::KeepNodes,
        ToGuardian::Ready,
        ToGuardian::Exit,
        ToGuardian::Stopping,
        ToGuardian::CommunicationUp,
        ToGuardian::StopClients,
    ];
    for order in ORDERS {
        all.push(ToGuardian::Run { job: JobId(0xfedc_ba98), group: GroupId(63), order });
    }
    all.push(ToGuardian::Run { job: JobId(1), group: GroupId(0), order: Order::Restart { from: 9 } });
    for cause in CAUSES {
        for old in GroupState::ALL {
            for new in GroupState::ALL {
                all.push(ToGuardian::NotifyGroup { group: GroupId(7), old, new, cause });
            }
        }
    }
    for status in *b"iuad" {
        all.push(ToGuardian::NotifyNode { node: 15, status });
    }
    for bit in [false, true] {
        all.push(ToGuardian::NotifyLink { node: 1, link: LinkId(15), is_up: bit });
        all.push(ToGuardian::NotifyPing { ping: PingId(3), is_alive: bit });
        all.push(ToGuardian::Reload { request: RequestId(u32::MAX), is_binary: bit });
    }
    all.push(ToGuardian::OpenLink { link: LinkId(3) });
    all.push(ToGuardian::Fence { shot: ShotId(0xfedc_ba98), method: 7, generation: Generation(u32::MAX) });
    all.push(ToGuardian::CancelFence { shot: ShotId(1) });
    all.push(ToGuardian::NoteFencings { count: 16 });
    all.push(ToGuardian::Outrun { known: Generation(0xfedc_ba98) });
    all
}

fn answers() -> Vec<ToEngine> {
    let mut all =
        vec![ToEngine::Stale, ToEngine::StopRequested, ToEngine::ClientsStopped, ToEngine::Debug { level: 255 }];
    for outcome in OUTCOMES {
        all.push(ToEngine::JobDone { job: JobId(9), outcome, resource: 255, ms: u32::MAX });
    }
    for errno in [0, 13, i32::MAX] {
        all.push(ToEngine::Link { link: LinkId(15), errno, detail: u32::MAX });
        all.push(ToEngine::Control { errno });
        all.push(ToEngine::Fifo { errno });
        all.push(ToEngine::Clients { errno });
        all.push(ToEngine::Membership { errno });
        all.push(ToEngine::OwnerSet { is_owner: errno == 0, is_ok: true });
        all.push(ToEngine::Services { is_down: errno == 0 });
    }
    all.push(ToEngine::JobStep { job: JobId(1), resource: 4, micros: 1_500_000 });
    all.push(ToEngine::ReloadRefused { request: RequestId(5), code: 78 });
    for outcome in FENCE_OUTCOMES {
        all.push(ToEngine::FenceDone { shot: ShotId(u32::MAX), outcome, ms: 7 });
    }
    all.push(ToEngine::FenceChecked { method: 7, is_ok: true });
    for health in Health::ALL {
        all.push(ToEngine::Health { check: CheckId(31), health, from: 255 });
    }
    all
}

#[test]
fn request_every_kind_round_trips() {
    for request in requests() {
        assert_eq!(ToGuardian::decode(&request.encode(DIGEST)), Ok((request, DIGEST)));
    }
}

#[test]
fn answer_every_kind_round_trips() {
    for answer in answers() {
        assert_eq!(ToEngine::decode(&answer.encode()), Ok(answer));
    }
}

#[test]
fn record_of_other_direction_or_length_is_refused() {
    for request in requests() {
        let record = request.encode(DIGEST);
        assert_eq!(ToEngine::decode(&record), Err(BadRecord));
        for len in 0..RECORD_LEN {
            assert_eq!(ToGuardian::decode(&record[..len]), Err(BadRecord));
        }
        let mut longer = record.to_vec();
        longer.push(0);
        assert_eq!(ToGuardian::decode(&longer), Err(BadRecord));
    }
    for answer in answers() {
        assert_eq!(ToGuardian::decode(&answer.encode()), Err(BadRecord));
    }
}

#[test]
fn record_with_any_byte_changed_is_refused_or_means_something_else() {
    for request in requests() {
        let record = request.encode(DIGEST);
        for at in 0..RECORD_LEN {
            for value in 0..=u8::MAX {
                let mut other = record;
                other[at] = value;
                if let Ok((decoded, digest)) = ToGuardian::decode(&other) {
                    assert_eq!(decoded.encode(digest), other, "{request:?} byte {at}");
                }
            }
        }
    }
}

#[test]
fn record_out_of_range_is_refused() {
    let mut record = ToGuardian::OpenLink { link: LinkId(0) }.encode(0);
    record[4] = 16;
    assert_eq!(ToGuardian::decode(&record), Err(BadRecord));
    let mut record = ToGuardian::Run { job: JobId(0), group: GroupId(0), order: Order::Probe }.encode(0);
    record[4] = 64;
    assert_eq!(ToGuardian::decode(&record), Err(BadRecord));
    let mut record = ToGuardian::Ready.encode(0);
    record[20] = 1;
    assert_eq!(ToGuardian::decode(&record), Err(BadRecord));
}
