//! TaskService: what is shown of the Tasks, and what their monitors answer.
//!
//! The Tasks themselves are in [`bmc`](super::super::bmc). Invariant: the monitor of a Task that has
//! ended answers what the request itself would have got.

use http::StatusCode;
use http::header::LOCATION;
use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::super::message::Message;
use super::Reply;
use super::resource::Resource;
use super::systems::date_time;

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
        let members: Vec<_> = self.tasks.ids().map(Resource::Task).collect();
        self.collection(&Resource::Tasks, "TaskCollection", "Task Collection", &members)
    }

    pub fn render_task(&self, id: u64) -> Option<Value> {
        let task = self.tasks.get(id)?;
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
    pub fn render_monitor(&self, id: u64) -> Option<Reply> {
        Some(match &self.tasks.get(id)?.end {
            None => self.task_accepted(id),
            Some((_, Ok(()))) => Reply::no_content(),
            Some((_, Err(message))) => Reply::refused(message),
        })
    }

    /// 202 with the Task.
    pub fn task_accepted(&self, id: u64) -> Reply {
        let task = self.render_task(id).unwrap_or_else(|| Message::internal().body());
        Reply::json(StatusCode::ACCEPTED, task)
            .with(LOCATION, format!("/redfish/v1/TaskService/TaskMonitors/{id}"))
    }
}
