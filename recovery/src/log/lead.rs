//! Being the writer: taking over, submitting, waiting until it is durable, until another device takes over.
//!
//! There is no task of its own: whoever waits for anything drives the writing on, for all.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use super::entry::{Closing, Writer};
use super::register::{Look, Put};
use super::writer::{Driven, Tail};
use super::{Fence, Log, News, Record, Role, State, Ticket};
use crate::RecoveryError;
use crate::forgery::FORGED;

impl Log {
    /// Reads on to the end and takes the writing over: any other writer is fenced.
    ///
    /// # Errors
    /// [`RecoveryError`]; what was read before a failure is kept for the next call.
    pub async fn take_over(&self) -> Result<News, RecoveryError> {
        let mut taken = None;
        loop {
            // Where it just ended one need not look again: if anything came since, the seal finds it there.
            if !self.state().at_end {
                self.read_on().await?;
            }
            if !self.prove().await? {
                continue;
            }
            let (slot, seal) = {
                let mut state = self.state();
                if let Role::Leading { .. } = state.role {
                    return Ok(std::mem::take(&mut state.news));
                }
                let cursor = &state.cursor;
                let seal = Closing::TakeOver.seal(cursor.last, self.writer);
                (cursor.slot(0), seal)
            };
            if taken == Some(slot) {
                return Err(RecoveryError::Misbehaved(
                    "it says of one place in turn that it is taken and that it is empty",
                ));
            }
            self.state().at_end = false;
            let put = self.registers.insert(slot, &seal).await?;
            if matches!(put, Put::Occupied | Put::Tombstoned) {
                taken = Some(slot);
            }
            let mut state = self.state();
            let here = state.cursor.slot(0) == slot && matches!(state.role, Role::Following);
            if here && matches!(put, Put::New | Put::Already) {
                state.cursor.pass_take_over(&seal);
                state.fence = None;
                state.role = Role::Leading {
                    submitted: state.cursor.records,
                    tail: Tail::new(self.registers.clone(), self.writer),
                };
                return Ok(std::mem::take(&mut state.news));
            }
        }
    }

    /// Puts a record into the queue; it goes out when somebody [settles](Log::settle).
    ///
    /// # Errors
    /// [`RecoveryError::Following`] or [`RecoveryError::Fenced`] when this device does not write; what
    /// the record names is deleted in time.
    pub fn submit(&self, record: Record) -> Result<Ticket, RecoveryError> {
        let mut state = self.state();
        let lead = state.ends.len();
        let Role::Leading { tail, submitted } = &mut state.role else {
            let error = state.not_leading();
            record
                .garbage()
                .into_iter()
                .for_each(|item| state.due.push(item));
            return Err(error);
        };
        tail.push(record);
        *submitted += 1;
        let number = *submitted;
        self.crowd.wake_all();
        Ok(Ticket { lead, number })
    }

    /// Returns once the record and all before it are durable. Any number of callers may wait at
    /// once, and any of them drives all.
    ///
    /// # Errors
    /// [`RecoveryError::Fenced`] when another device took over first; whether the record got in,
    /// the log says once it was read on. Any other: the record still waits, settle again.
    pub async fn settle(&self, ticket: Ticket) -> Result<(), RecoveryError> {
        self.drive_until(|state| match state.ends.get(ticket.lead) {
            Some(end) if *end < ticket.number => Some(Err(state.not_leading())),
            Some(_) => Some(Ok(())),
            None => (state.cursor.records >= ticket.number).then_some(Ok(())),
        })
        .await
    }

    /// Whether a record is durable.
    #[must_use]
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        let state = self.state();
        let end = state.ends.get(ticket.lead).copied();
        end.unwrap_or(state.cursor.records) >= ticket.number
    }

    /// Whether this device writes, as far as it knows.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        matches!(self.state().role, Role::Leading { .. })
    }

    /// Has the chunks deleted of a record that was not submitted after all.
    pub fn withdraw(&self, record: Record) {
        let mut state = self.state();
        record
            .garbage()
            .into_iter()
            .for_each(|item| state.due.push(item));
    }

    /// Whether this device was the writer at a moment since the call: it asks the storage node for the
    /// place behind its last durable entry. What it has read is then the newest there is.
    ///
    /// # Errors
    /// [`RecoveryError::Fenced`] when another device has taken over.
    pub async fn confirm(&self) -> Result<(), RecoveryError> {
        loop {
            let slot = {
                let state = self.state();
                match state.role {
                    Role::Leading { .. } => state.cursor.slot(0),
                    Role::Following => return Err(state.not_leading()),
                }
            };
            let look = self.registers.lookup(slot).await?;
            let mut state = self.state();
            if state.cursor.slot(0) != slot {
                // Our own entry got there meanwhile, which proves as much; or we were fenced.
                match state.role {
                    Role::Leading { .. } => return Ok(()),
                    Role::Following => continue,
                }
            }
            let seal = match look {
                Look::Absent => return Ok(()),
                Look::Found(found) if Writer(found.writer) == self.writer => return Ok(()),
                Look::Found(found) => Some(found),
                Look::Deleted => None,
                Look::Foreign => return Err(FORGED),
            };
            let records = state.cursor.records;
            state.fenced(Fence { records, seal });
            self.crowd.wake_all();
            return Err(state.not_leading());
        }
    }

    /// Waits for `done`, writing meanwhile.
    pub(super) async fn drive_until(
        &self,
        done: impl Fn(&State) -> Option<Result<(), RecoveryError>>,
    ) -> Result<(), RecoveryError> {
        poll_fn(|cx| {
            let mut state = self.state();
            loop {
                if let Some(done) = done(&state) {
                    return Poll::Ready(done);
                }
                self.crowd.join(cx.waker());
                let waker = Waker::from(self.crowd.clone());
                let driven = match state.poll_drive(&mut Context::from_waker(&waker)) {
                    Poll::Ready(driven) => driven,
                    Poll::Pending => return Poll::Pending,
                };
                self.crowd.wake_all();
                if let Err(error) = driven {
                    return Poll::Ready(Err(error));
                }
            }
        })
        .await
    }
}

impl State {
    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RecoveryError>> {
        let Role::Leading { tail, .. } = &mut self.role else {
            return Poll::Ready(Err(self.not_leading()));
        };
        let driven = match tail.poll_drive(&mut self.cursor, cx) {
            Poll::Ready(driven) => driven?,
            Poll::Pending => return Poll::Pending,
        };
        let due = match driven {
            Driven::On(due) => due,
            Driven::Fenced(fence, due) => {
                self.fenced(fence);
                due
            }
        };
        due.into_iter().for_each(|item| self.due.push(item));
        Poll::Ready(Ok(()))
    }

    fn fenced(&mut self, fence: Fence) {
        self.ends.push(self.cursor.records);
        self.fence = Some(fence);
        self.role = Role::Following;
    }

    /// Whether a lead has ended.
    pub(super) fn lost(&self, lead: usize) -> Option<RecoveryError> {
        (self.ends.len() > lead).then(|| self.not_leading())
    }

    pub(super) fn not_leading(&self) -> RecoveryError {
        match &self.fence {
            Some(fence) => RecoveryError::Fenced(Box::new(fence.clone())),
            None => RecoveryError::Following,
        }
    }
}
