//! `/api/v1/events` and `/api/v1/jobs/{job_id}/events`: the events of jobs, as JSON or as a stream.
//!
//! A stream is resumed by the global id of the last event seen. Invariants: events come in the order
//! of their ids and none is left out; the stream of a job ends once the job is over, and one that is
//! resumed after that is answered 204, which stops a browser from reconnecting; every stream ends with the
//! token that opened it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use shoal_base::with_causes;
use tokio::sync::watch;
use utoipa::{IntoParams, ToSchema};

use super::ApiState;
use super::access::{Admission, Who};
use super::body::{Name, Params, Position, page_limit};
use super::error::ApiError;
use super::find;
use super::streams::StreamSeat;
use super::words::{EventLevel, EventStatusName, StepName};
use crate::domain::{BatchId, Event, JobId, Level, NewEvent, Serial};
use crate::store::{EventFilter, PAGE_MAX, Store, StoreError};

const LIST_DEFAULT: usize = 100;
/// The heartbeat of an idle stream, so that no proxy closes it.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events that one stream holds ready: a client that does not read costs no more than these.
const STREAM_PAGE: usize = 16;
const LOOK_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, ToSchema)]
pub struct EventBody {
    /// Global, rising in the order of commits; a stream is resumed by it.
    id: u64,
    /// Within the job, from 1 without gaps.
    seq: u64,
    job_id: String,
    server_serial: String,
    #[serde(flatten)]
    event: NewEventBody,
}

/// An event without its numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewEventBody {
    #[schema(value_type = String, format = DateTime)]
    time: jiff::Timestamp,
    #[schema(value_type = EventLevel)]
    level: &'static str,
    #[schema(value_type = StepName)]
    step: &'static str,
    /// The step's name, or that of a part of it.
    op: String,
    #[schema(value_type = EventStatusName)]
    status: &'static str,
    /// Try within the step, from 1.
    attempt: u32,
    duration_ms: Option<u64>,
    message: String,
    /// Facts by name.
    detail: serde_json::Value,
}

impl From<NewEvent> for NewEventBody {
    fn from(event: NewEvent) -> NewEventBody {
        NewEventBody {
            time: event.time,
            level: event.level.name(),
            step: event.step.name(),
            op: event.op,
            status: event.status.name(),
            attempt: event.attempt,
            duration_ms: event.duration_ms,
            message: event.message,
            detail: event.detail,
        }
    }
}

impl From<Event> for EventBody {
    fn from(event: Event) -> EventBody {
        EventBody {
            id: event.id,
            seq: event.seq,
            job_id: event.job.to_string(),
            server_serial: event.server.to_string(),
            event: event.event.into(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EventList {
    events: Vec<EventBody>,
    /// Give it as `after` for what comes next; absent where there was nothing more.
    next_after: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventParams {
    /// Only events with a greater `id`.
    #[param(value_type = Option<u64>)]
    after: Option<Position>,
    /// At most 500; 100 by default. Streams know no limit.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// Only events of this server's jobs.
    #[param(pattern = "^[A-Za-z0-9._-]*[A-Za-z0-9][A-Za-z0-9._-]*$", max_length = 64)]
    server_serial: Option<String>,
    /// Only events of this batch's jobs.
    #[param(pattern = "^[0-9a-f]{32}$")]
    batch_id: Option<String>,
    /// Only events at least as important as this.
    #[param(value_type = Option<EventLevel>)]
    level: Option<String>,
    /// `now`: nothing that has happened before. `Last-Event-ID` and `after` take precedence.
    #[param(pattern = "^now$")]
    from: Option<String>,
}

/// The parameters of one job's events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobEventParams {
    /// Only events with a greater `id`.
    #[param(value_type = Option<u64>)]
    after: Option<Position>,
    /// At most 500; 100 by default. Streams know no limit.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// Only events at least as important as this.
    #[param(value_type = Option<EventLevel>)]
    level: Option<String>,
    /// `now`: nothing that has happened before. `Last-Event-ID` and `after` take precedence.
    #[param(pattern = "^now$")]
    from: Option<String>,
}

/// Which events a request asks for, as it was typed.
struct EventQuery {
    after: Option<u64>,
    limit: Option<usize>,
    level: Option<String>,
    from: Option<String>,
    filter: EventFilter,
}

impl EventQuery {
    /// The filter, beginning after the last event that the client has or wants to skip.
    fn filter(self, resumed: Option<u64>, latest: u64) -> Result<EventFilter, ApiError> {
        let wrong = |what: &str| ApiError::BadRequest(format!("invalid query: {what}"));
        let level = self.level.map(|level| level.parse::<Level>());
        let level = level.transpose().map_err(|_| wrong("level is info, warning or error"))?;
        let from = match self.from.as_deref() {
            None => 0,
            Some("now") => latest,
            Some(_) => return Err(wrong("from is now")),
        };
        let limit = page_limit(self.limit, LIST_DEFAULT, PAGE_MAX)?;
        Ok(EventFilter { level, limit, after: resumed.or(self.after).unwrap_or(from), ..self.filter })
    }
}

/// The events of all jobs, oldest first: JSON, or `text/event-stream` resumable by `Last-Event-ID`.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(EventParams, ("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, body = EventList)))]
pub async fn all(
    State(state): State<ApiState>,
    who: Who,
    Params(params): Params<EventParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let EventParams { after, limit, server_serial, batch_id, level, from } = params;
    let wrong = |_| ApiError::BadRequest("invalid query: server_serial is not a serial number".to_owned());
    let server = server_serial.map(|serial| serial.parse::<Serial>()).transpose().map_err(wrong)?;
    let batch = batch_id.map(|id| id.parse::<BatchId>()).transpose();
    let batch = batch.map_err(|_| ApiError::BadRequest("invalid query: batch_id is not an id".to_owned()))?;
    let filter = EventFilter { server, batch, ..EventFilter::default() };
    let after = after.map(|Position(number)| number);
    answer(&state, &who, EventQuery { after, limit, level, from, filter }, &headers).await
}

/// The events of one job: JSON, or `text/event-stream` resumable by `Last-Event-ID`.
#[utoipa::path(get, path = "/api/v1/jobs/{job_id}/events", tag = "events",
    params(("job_id" = String, Path), JobEventParams, ("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, body = EventList),
        (status = 204, description = "The job is over and its stream was read to the end")))]
pub async fn of_one_job(
    State(state): State<ApiState>,
    who: Who,
    Name(id): Name<JobId>,
    Params(params): Params<JobEventParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    find::job(&state, id).await?;
    let JobEventParams { after, limit, level, from } = params;
    let filter = EventFilter { job: Some(id), ..EventFilter::default() };
    let after = after.map(|Position(number)| number);
    answer(&state, &who, EventQuery { after, limit, level, from, filter }, &headers).await
}

/// All events of one job; the store bounds how many there can be.
pub async fn of_job(store: &Store, job: JobId) -> Result<Vec<Event>, StoreError> {
    let mut filter = EventFilter { job: Some(job), after: 0, limit: PAGE_MAX, ..EventFilter::default() };
    let mut events = Vec::new();
    loop {
        let page = store.events(&filter).await?;
        let is_last = page.len() < PAGE_MAX;
        filter.after = page.last().map_or(filter.after, |event| event.id);
        events.extend(page);
        if is_last {
            return Ok(events);
        }
    }
}

async fn answer(
    state: &ApiState,
    who: &Who,
    query: EventQuery,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let resumed = last_event_id(headers)?;
    let is_now = query.from.is_some();
    let latest = *state.store.latest_event().borrow();
    let filter = query.filter(resumed, latest)?;
    if wants_stream(headers) {
        return follow(state, who, filter, resumed.is_some()).await;
    }
    let (after, limit) = (filter.after, filter.limit);
    let events = state.store.events(&filter).await?;
    let last = events.last().filter(|_| events.len() == limit).map(|event| event.id);
    // With `from=now`, where a later request goes on.
    let next_after = last.or(is_now.then(|| events.last().map_or(after, |event| event.id)));
    let events = events.into_iter().map(EventBody::from).collect();
    Ok(Json(EventList { events, next_after }).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    let wrong = || ApiError::BadRequest("Last-Event-ID is the number of an event".to_owned());
    let Position(id) = id.and_then(|id| Position::try_from(id).ok()).ok_or_else(wrong)?;
    Ok(Some(id))
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.into_iter().any(|value| value.to_ascii_lowercase().contains("text/event-stream"))
}

async fn follow(
    state: &ApiState,
    who: &Who,
    filter: EventFilter,
    resumed: bool,
) -> Result<Response, ApiError> {
    let seat = state.streams.take(&who.actor.id).map_err(ApiError::TooManyStreams)?;
    let latest = state.store.latest_event();
    let gap = if resumed { gap(&state.store, &filter).await? } else { None };
    let mut follower = Follower {
        state: state.clone(),
        admission: Admission::new(who, &state.access),
        filter: EventFilter { limit: STREAM_PAGE, ..filter },
        ready: VecDeque::new(),
        latest,
        _seat: seat,
    };
    // The first look is made here, so that a broken store is a status and not a broken stream.
    if follower.look().await? == NewEvents::Over && resumed && gap.is_none() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    let events = stream::iter(gap.map(Ok)).chain(events);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

/// The first event of a stream that is resumed where events have been removed since.
#[derive(Debug, Serialize)]
struct GapBody {
    /// Events up to this id may be missing.
    removed_up_to: u64,
}

/// What a client that has read up to `after` may have missed.
async fn gap(store: &Store, filter: &EventFilter) -> Result<Option<sse::Event>, StoreError> {
    let removed_up_to = store.removed_events(filter.job).await?;
    if removed_up_to <= filter.after {
        return Ok(None);
    }
    let data = serde_json::to_string(&GapBody { removed_up_to }).expect("a gap has string keys");
    Ok(Some(sse::Event::default().event("gap").data(data)))
}

/// One reader of a stream, and how far it has read.
struct Follower {
    state: ApiState,
    admission: Admission,
    /// Which events, and after which one.
    filter: EventFilter,
    ready: VecDeque<Event>,
    latest: watch::Receiver<u64>,
    _seat: StreamSeat,
}

#[derive(PartialEq, Eq)]
enum NewEvents {
    Found,
    Nothing,
    /// The job is over and all its events were read.
    Over,
}

impl Follower {
    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if !self.admission.holds().await {
                return None;
            }
            if let Some(event) = self.ready.pop_front() {
                return Some(render(event));
            }
            match self.look().await {
                Ok(NewEvents::Found) => {}
                Ok(NewEvents::Nothing) => self.wait().await?,
                Ok(NewEvents::Over) => return None,
                Err(error) => {
                    tracing::warn!(error = %with_causes(&error), "an event stream ends, since the events cannot be read");
                    return None;
                }
            }
        }
    }

    /// Reads the next page.
    async fn look(&mut self) -> Result<NewEvents, StoreError> {
        // All events up to this one can be read, so where none of them fits, none is looked at again.
        let latest = *self.latest.borrow_and_update();
        // Read before the events: a job that is over now writes none after the page.
        let over = match self.filter.job {
            Some(id) => self.state.store.stored_job(id).await?.is_none_or(|job| !job.is_active()),
            None => false,
        };
        self.ready.extend(self.state.store.events(&self.filter).await?);
        match self.ready.back() {
            Some(event) => {
                self.filter.after = event.id;
                Ok(NewEvents::Found)
            }
            None if over => Ok(NewEvents::Over),
            None => {
                self.filter.after = self.filter.after.max(latest);
                Ok(NewEvents::Nothing)
            }
        }
    }

    /// Until there may be more; `None` where there never will. A job may end without an event, so
    /// its stream looks now and then.
    async fn wait(&mut self) -> Option<()> {
        tokio::select! {
            biased;
            () = self.state.shutdown.cancelled() => None,
            changed = self.latest.changed() => changed.ok(),
            () = tokio::time::sleep(LOOK_EVERY), if self.filter.job.is_some() => Some(()),
            () = self.admission.may_have_changed() => Some(()),
        }
    }
}

fn render(event: Event) -> sse::Event {
    let id = event.id.to_string();
    let data = serde_json::to_string(&EventBody::from(event)).expect("events have string keys");
    sse::Event::default().id(id).data(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_requested_by_accept() {
        let accept = |text: &'static str| {
            wants_stream(&HeaderMap::from_iter([(header::ACCEPT, http::HeaderValue::from_static(text))]))
        };
        assert!(accept("text/event-stream") && accept("text/html, Text/Event-Stream;q=0.9"));
        assert!(!accept("*/*") && !accept("application/json") && !wants_stream(&HeaderMap::new()));
    }
}
