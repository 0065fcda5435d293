//! What one tenant has used of its budget: a request's tokens are spoken for when it is let in, and trued up when it has ended.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::config::Allowance;

/// Budgets of a day begin anew at midnight UTC.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// When to come again where requests under way have spoken for what is left.
const IN_FLIGHT_RETRY_MS: u64 = 1000;

/// One tenant's account.
#[derive(Debug, Default)]
pub(crate) struct Account {
    books: Mutex<Books>,
    /// It has been used since it was written last.
    is_changed: AtomicBool,
}

#[derive(Debug, Default)]
struct Books {
    used: Use,
    /// What of that is in the file, where other processes add to it too.
    written: Use,
    /// Tokens that requests under way may use yet.
    reserved: u64,
}

/// What has been used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Use {
    /// Days since 1970 to the one that the next two are of.
    day: u64,
    pub requests_today: u64,
    pub tokens_today: u64,
    pub tokens_total: u64,
}

/// Tokens that a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wants {
    /// There must be room for so many.
    pub least: u64,
    /// So many are spoken for, or what room there is: its client set no bound, and few use all that they could.
    pub most: u64,
}

/// What a request under way has spoken for; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    account: Arc<Account>,
    tokens: u64,
}

/// Which bound of a budget has no room for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    pub bound: &'static str,
    pub max: u64,
    pub why: Why,
    /// Milliseconds until there is more; `None` where only the operator can give more.
    pub resets_in_ms: Option<u64>,
    /// When that is.
    pub resets_at_unix_ms: Option<u64>,
}

/// Why it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    UsedUp,
    /// There is less left than the request may use.
    TooLarge {
        wants: u64,
        left: u64,
    },
    /// There would be enough, but requests under way may need it.
    Reserved {
        wants: u64,
        left: u64,
    },
}

impl Spent {
    /// When a client may come again, if time helps.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self.why {
            Why::Reserved { .. } => Some(IN_FLIGHT_RETRY_MS),
            Why::UsedUp | Why::TooLarge { .. } => self.resets_in_ms,
        }
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spent { bound, max, why, resets_at_unix_ms, .. } = self;
        match why {
            Why::UsedUp => write!(f, "the budget of this key's tenant is used up: {bound} is {max}")?,
            Why::TooLarge { wants, left } => write!(
                f,
                "the request may use {wants} tokens, its prompt's and those it lets be made, and the budget of this key's \
                 tenant has {left} left: {bound} is {max}; ask for fewer"
            )?,
            Why::Reserved { wants, left } => {
                return write!(
                    f,
                    "the request may use {wants} tokens, its prompt's and those it lets be made, and the tenant's \
                     requests under way may need all but {left} of what is left: {bound} is {max}; try again when they \
                     have ended, or ask for fewer"
                );
            }
        }
        match resets_at_unix_ms {
            None if matches!(why, Why::TooLarge { .. }) => f.write_str(", or ask the operator for more"),
            Some(at) => write!(f, "; there is more from Unix second {} on (midnight UTC)", at / 1000),
            None => f.write_str("; ask the operator for more"),
        }
    }
}

impl Use {
    /// As it stands now.
    fn on(self, now_unix_ms: u64) -> Use {
        self.on_day(now_unix_ms / DAY_MS)
    }

    /// What was used on another day counts no more.
    fn on_day(self, day: u64) -> Use {
        match self.day == day {
            true => self,
            false => Use { day, requests_today: 0, tokens_today: 0, ..self },
        }
    }
}

impl Account {
    /// One that has been used before.
    pub fn of(used: Use) -> Account {
        Account { books: Mutex::new(Books { used, written: used, reserved: 0 }), is_changed: AtomicBool::new(false) }
    }

    /// Counts a request and speaks for its tokens, if the budget has room for them beside those of the requests under
    /// way: as long as none uses more than it was said to, all of them together keep the budget.
    pub fn begin(self: &Arc<Self>, budget: &Allowance, wants: Wants, now_unix_ms: u64) -> Result<Reserved, Spent> {
        let mut books = self.books();
        books.used = books.used.on(now_unix_ms);
        let tokens = books.room_for(budget, wants, now_unix_ms)?;
        books.used.requests_today += 1;
        books.reserved += tokens;
        self.is_changed.store(true, Ordering::Relaxed);
        Ok(Reserved { account: self.clone(), tokens })
    }

    pub fn used(&self, now_unix_ms: u64) -> Use {
        self.books().used.on(now_unix_ms)
    }

    /// Takes in what the file has of it, which others may have added to, and gives what is to stand there.
    pub fn joins(&self, there: Use) -> Use {
        let mut books = self.books();
        let Books { used, written, .. } = *books;
        let day = used.day.max(there.day);
        let (there_now, used_now, written_now) = (there.on_day(day), used.on_day(day), written.on_day(day));
        let more = |used: u64, written: u64| used.saturating_sub(written);
        books.used = Use {
            day,
            requests_today: there_now.requests_today + more(used_now.requests_today, written_now.requests_today),
            tokens_today: there_now.tokens_today + more(used_now.tokens_today, written_now.tokens_today),
            tokens_total: there_now.tokens_total + more(used_now.tokens_total, written_now.tokens_total),
        };
        books.written = there;
        books.used
    }

    /// This stands in the file.
    pub fn is_written(&self, there: Use) {
        self.books().written = there;
    }

    /// Tokens that requests under way may use yet.
    pub fn reserved(&self) -> u64 {
        self.books().reserved
    }

    /// Whether it has been used since this was asked last.
    pub fn take_changed(&self) -> bool {
        self.is_changed.swap(false, Ordering::Relaxed)
    }

    /// It is to be asked again.
    pub fn mark_changed(&self) {
        self.is_changed.store(true, Ordering::Relaxed);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// How many tokens are spoken for.
    fn room_for(&self, budget: &Allowance, wants: Wants, now_unix_ms: u64) -> Result<u64, Spent> {
        let Books { used, reserved, .. } = *self;
        let Allowance { requests_per_day, tokens_per_day, tokens_total } = *budget;
        let next_day_ms = (used.day + 1) * DAY_MS;
        let spent = |bound, max, why, resets_at_unix_ms: Option<u64>| {
            let resets_in_ms = resets_at_unix_ms.map(|at| at.saturating_sub(now_unix_ms));
            Spent { bound, max, why, resets_in_ms, resets_at_unix_ms }
        };
        let mut tokens = wants.most;
        let mut check = |bound, max: Option<u64>, used, resets_at_unix_ms| {
            let Some(max) = max else { return Ok(()) };
            let left = max.saturating_sub(used);
            let free = left.saturating_sub(reserved);
            let why = if left == 0 {
                Why::UsedUp
            } else if wants.least > left {
                Why::TooLarge { wants: wants.least, left }
            } else if wants.least > free {
                Why::Reserved { wants: wants.least, left: free }
            } else {
                tokens = tokens.min(free);
                return Ok(());
            };
            Err(spent(bound, max, why, resets_at_unix_ms))
        };
        check("tokens_total", tokens_total, used.tokens_total, None)?;
        if let Some(max) = requests_per_day.filter(|max| used.requests_today >= *max) {
            return Err(spent("requests_per_day", max, Why::UsedUp, Some(next_day_ms)));
        }
        check("tokens_per_day", tokens_per_day, used.tokens_today, Some(next_day_ms))?;
        Ok(tokens)
    }
}

impl Reserved {
    /// Counts what the request used in the place of what it had spoken for.
    pub fn end(mut self, tokens: u64, now_unix_ms: u64) {
        let mut books = self.account.books();
        books.reserved -= std::mem::take(&mut self.tokens);
        if tokens == 0 {
            return;
        }
        books.used = books.used.on(now_unix_ms);
        books.used.tokens_today = books.used.tokens_today.saturating_add(tokens);
        books.used.tokens_total = books.used.tokens_total.saturating_add(tokens);
        self.account.is_changed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.tokens > 0 {
            self.account.books().reserved -= self.tokens;
        }
    }
}

#[cfg(test)]
mod tests;
