//! Bugs that the simulator must find: switched on at run time, only with the feature `planted`.

/// One planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A node that was late itself judges its peer at once.
    JudgeWhileLate = 1,
    /// A message of an older generation is accepted.
    AcceptOldGeneration = 2,
    /// The taker of a hand-over starts before the giver's `done`.
    StartBeforeDone = 3,
    /// The giver drops its claims before its stop scripts have ended.
    DropClaimsEarly = 4,
    /// A failed stop counts as a stop.
    IgnoreStopFailure = 5,
    /// A dead peer's groups are taken without its being fenced.
    SkipFence = 6,
    /// A confirmation counts for a later run of the peer too.
    ConfirmOtherGeneration = 7,
    /// The peer is shot at although it is back.
    ShootUnchecked = 8,
    /// The line `peer-owner` is not looked at.
    IgnorePeerOwner = 9,
    /// The watchdog is kicked although the lease is over.
    KickWithoutLease = 10,
    /// A node whose checks fail hands over although the partner is no better off.
    MoveToNoBetter = 11,
    /// Of two holders that meet both keep what they have.
    NeverLetGo = 12,
    /// A peer is taken for dead after half of its dead time.
    JudgeTooSoon = 13,
    /// A silent peer is never taken for dead.
    NeverJudge = 14,
    /// `takeover_policy safe` is not looked at.
    TakeWithoutProof = 15,
    /// Both nodes shoot as soon as they miss each other, without taking turns.
    ShootTogether = 16,
    /// Fencings are not limited in an hour.
    ShootWithoutEnd = 17,
    /// A node that was told to stop says goodbye before its stop scripts have ended.
    LeaveInUse = 18,
    /// Operators get no answer to a request that was refused.
    ForgetAnswer = 19,
    /// Operators get the answer to a request that was carried out twice.
    AnswerTwice = 20,
    /// A node that has overslept its own dead time does not yield to whoever has taken over meanwhile.
    ForgetSleep = 21,
    /// An engine that replaces another one knows nothing of a hand-over that was under way.
    ForgetHandover = 22,
    /// An older call of the partner replaces the one that was answered last.
    AnswerOlderCall = 23,
    /// A status of the partner's present run ends a session, too, not only one of a later run.
    FallBackForAnyStatus = 24,
    /// Text stops when a session is opened, before a beat has come in it.
    StopTextAtOnce = 25,
    /// A link that is silent in the compact format never carries text again.
    NeverSayTextAgain = 26,
    /// A frame that has come before is taken once more.
    TakeFramesTwice = 27,
    /// A status that `crc` has signed changes over and back.
    TrustChecksum = 28,
    /// A session is open as soon as a call was answered.
    OpenWhenCalled = 29,
    /// `protocol compact` takes text.
    TakeTextAlways = 30,
    /// What bears the partner's address of one session is taken for our own words, although it is for us in another one.
    RefuseByAddress = 31,
    /// What ends the session with an earlier run ends that which the present run has called for, too.
    ForgetNewCall = 32,
}

impl Bug {
    /// All that `nullbeat sim` finds.
    pub const ALL: [Self; 22] = [
        Self::JudgeWhileLate,
        Self::AcceptOldGeneration,
        Self::StartBeforeDone,
        Self::DropClaimsEarly,
        Self::IgnoreStopFailure,
        Self::SkipFence,
        Self::ConfirmOtherGeneration,
        Self::ShootUnchecked,
        Self::IgnorePeerOwner,
        Self::KickWithoutLease,
        Self::MoveToNoBetter,
        Self::NeverLetGo,
        Self::JudgeTooSoon,
        Self::NeverJudge,
        Self::TakeWithoutProof,
        Self::ShootTogether,
        Self::ShootWithoutEnd,
        Self::LeaveInUse,
        Self::ForgetAnswer,
        Self::AnswerTwice,
        Self::ForgetSleep,
        Self::ForgetHandover,
    ];

    /// Those of the change-over to the compact format, which tests/changeover finds.
    pub const CHANGE_OVER: [Self; 10] = [
        Self::AnswerOlderCall,
        Self::FallBackForAnyStatus,
        Self::StopTextAtOnce,
        Self::NeverSayTextAgain,
        Self::TakeFramesTwice,
        Self::TrustChecksum,
        Self::OpenWhenCalled,
        Self::TakeTextAlways,
        Self::RefuseByAddress,
        Self::ForgetNewCall,
    ];
}

#[cfg(feature = "planted")]
static PLANTED: core::sync::atomic::AtomicU8 = core::sync::atomic::AtomicU8::new(0);

/// Switches one bug on, or all off.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as u8), core::sync::atomic::Ordering::Relaxed);
}

/// Whether this bug is on. Always false in what ships.
#[cfg(feature = "planted")]
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.load(core::sync::atomic::Ordering::Relaxed) == bug as u8
}

/// Whether this bug is on. Always false in what ships.
#[cfg(not(feature = "planted"))]
pub const fn is_planted(_bug: Bug) -> bool {
    false
}
