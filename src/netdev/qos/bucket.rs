//! Tokens that come in at a steady rate. Exact: what is less than a token is kept, so that a rate holds over any
//! number of steps however small.

const NS_PER_S: u64 = 1_000_000_000;

/// A steady stream of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stream {
    /// Tokens a second.
    rate: u64,
    /// Billionths of a token that came in and were not handed out.
    part: u64,
    /// Until when tokens were handed out, nanoseconds.
    at_ns: u64,
}

impl Stream {
    pub(super) fn new(rate: u64, now_ns: u64) -> Self {
        Self {
            rate,
            part: 0,
            at_ns: now_ns,
        }
    }

    /// Whole tokens that came in since the last time.
    #[inline]
    pub(super) fn take(&mut self, now_ns: u64) -> u64 {
        let passed = now_ns.saturating_sub(self.at_ns);
        if passed == 0 {
            return 0;
        }
        self.at_ns = now_ns;
        let small = passed.checked_mul(self.rate);
        if let Some(n) = small.and_then(|n| n.checked_add(self.part)) {
            self.part = n % NS_PER_S;
            return n / NS_PER_S;
        }
        let n = u128::from(passed) * u128::from(self.rate) + u128::from(self.part);
        self.part = (n % u128::from(NS_PER_S)) as u64;
        u64::try_from(n / u128::from(NS_PER_S)).unwrap_or(u64::MAX)
    }
}

/// A bucket; full at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket {
    size: u64,
    tokens: u64,
}

impl Bucket {
    pub(super) const fn new(size: u64) -> Self {
        Self { size, tokens: size }
    }
    /// Puts tokens in; gives back what did not fit.
    #[inline]
    pub(super) fn fill(&mut self, tokens: u64) -> u64 {
        let fits = tokens.min(self.size - self.tokens);
        self.tokens += fits;
        tokens - fits
    }
    #[inline]
    pub(super) const fn has(&self, tokens: u64) -> bool {
        self.tokens >= tokens
    }
    /// Takes tokens out, all or none.
    #[inline]
    pub(super) fn take(&mut self, tokens: u64) -> bool {
        let enough = self.has(tokens);
        if enough {
            self.tokens -= tokens;
        }
        enough
    }
}
