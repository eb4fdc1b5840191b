//! TaskService: Redfish Tasks of inserts that are answered before they are done.
//!
//! Invariant: a Task that has ended does not change, and at most [`TASKS_MAX`] are kept.

use std::collections::BTreeMap;

use http::StatusCode;
use http::header::LOCATION;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::message::Message;
use super::resource::Resource;
use super::systems::date_time;
use super::{Refusal, Reply};

const TASKS_MAX: usize = 64;

#[derive(Default)]
pub struct Tasks {
    known: BTreeMap<u64, Task>,
    made: u64,
}

struct Task {
    began: Timestamp,
    end: Option<(Timestamp, Result<(), Refusal>)>,
}

impl Tasks {
    pub fn clear(&mut self) {
        self.known.clear();
    }

    pub fn begin(&mut self, now: Timestamp) -> u64 {
        self.made += 1;
        self.known.insert(self.made, Task { began: now, end: None });
        while self.known.len() > TASKS_MAX {
            self.known.pop_first();
        }
        self.made
    }

    pub fn end(&mut self, id: u64, result: Result<(), Refusal>, now: Timestamp) {
        if let Some(task) = self.known.get_mut(&id) {
            task.end.get_or_insert((now, result));
        }
    }

    pub fn render(&self, id: u64) -> Option<Value> {
        let task = self.known.get(&id)?;
        let (state, status, messages) = match &task.end {
            None => ("Running", "OK", vec![]),
            Some((_, Ok(()))) => ("Completed", "OK", vec![]),
            Some((_, Err(message))) => ("Exception", "Critical", vec![message.entry()]),
        };
        let mut rendered = json!({
            "@odata.id": format!("/redfish/v1/TaskService/Tasks/{id}"),
            "@odata.type": "#Task.v1_7_4.Task",
            "Id": id.to_string(),
            "Name": format!("Task {id}"),
            "TaskState": state,
            "TaskStatus": status,
            "StartTime": date_time(task.began),
            "TaskMonitor": format!("/redfish/v1/TaskService/TaskMonitors/{id}"),
            "Messages": messages,
        });
        if let Some((ended, _)) = &task.end {
            rendered["EndTime"] = json!(date_time(*ended));
            rendered["PercentComplete"] = json!(100);
        }
        Some(rendered)
    }

    /// The monitor: 202 and the Task while it runs, then what the request itself would have got.
    pub fn monitor(&self, id: u64) -> Option<Reply> {
        Some(match &self.known.get(&id)?.end {
            None => self.accepted(id),
            Some((_, Ok(()))) => Reply::no_content(),
            Some((_, Err(message))) => message.reply(),
        })
    }

    /// 202 with the Task.
    pub fn accepted(&self, id: u64) -> Reply {
        let task = self.render(id).unwrap_or_else(|| Message::internal().body());
        Reply::json(StatusCode::ACCEPTED, task)
            .with(LOCATION, format!("/redfish/v1/TaskService/TaskMonitors/{id}"))
    }
}

impl Bmc {
    pub fn render_task_service(&self) -> Value {
        json!({
            "@odata.id": self.path(&Resource::TaskService),
            "@odata.type": "#TaskService.v1_2_1.TaskService",
            "Id": "TaskService",
            "Name": "Task Service",
            "ServiceEnabled": true,
            "CompletedTaskOverWritePolicy": "Oldest",
            "Tasks": self.link(&Resource::Tasks),
        })
    }

    pub fn render_tasks(&self) -> Value {
        let members: Vec<_> = self.tasks.known.keys().copied().map(Resource::Task).collect();
        self.collection(&Resource::Tasks, "TaskCollection", "Task Collection", &members)
    }
}
