//! Promises about notifications: added with what they report, once, and kept until they are sent.

use crate::domain::{BatchLimits, Phase};
use crate::store::{Notification, NotificationSubject};

use super::batches::batch_id;
use super::{Bench, at, ended, id};

promises! {
    an_end_is_reported_once,
    nothing_is_kept_while_no_one_is_notified,
    a_batch_reports_its_halt_and_its_end,
    a_failed_attempt_puts_a_notification_off,
    a_notification_is_taken_by_one_controller,
}

impl Bench {
    async fn due(&self, second: u64) -> Vec<Notification> {
        self.store.take_notifications(at(second), at(second), 9).await.unwrap()
    }
}

fn subjects(due: &[Notification]) -> Vec<NotificationSubject> {
    due.iter().map(|notification| notification.subject).collect()
}

async fn an_end_is_reported_once(bench: Bench) {
    bench.store.set_notifying(true).await.unwrap();
    let (bench, lease, job) = bench.with_claimed_job().await;
    assert!(bench.due(99).await.is_empty());
    let decided = ended(&job, Phase::Cleanup);
    bench.store.save(&lease, &decided, Vec::new()).await.unwrap();
    bench.store.save(&lease, &ended(&decided, Phase::Done), Vec::new()).await.unwrap();
    let due = bench.due(99).await;
    assert_eq!(subjects(&due), [NotificationSubject::JobEnded(id(1))]);
    assert_eq!((due[0].at, due[0].attempts), (at(9), 0));
    let bench = bench.restarted().await;
    assert_eq!(bench.due(99).await, due);
    bench.store.remove_notification(due[0].id).await.unwrap();
    assert!(bench.due(99).await.is_empty());
}

async fn nothing_is_kept_while_no_one_is_notified(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    bench.store.save(&lease, &ended(&job, Phase::Done), Vec::new()).await.unwrap();
    assert!(bench.due(99).await.is_empty());
    bench.store.set_notifying(true).await.unwrap();
    bench.add_job("A", 2).await;
    let (lease, job) = bench.claim(3).await.remove(0);
    bench.store.save(&lease, &ended(&job, Phase::Done), Vec::new()).await.unwrap();
    bench.store.set_notifying(false).await.unwrap();
    bench.store.set_notifying(true).await.unwrap();
    assert!(bench.due(99).await.is_empty());
}

async fn a_batch_reports_its_halt_and_its_end(bench: Bench) {
    bench.store.set_notifying(true).await.unwrap();
    let bench = bench.with_batch(BatchLimits { canary: 1, ..BatchLimits::default() }).await;
    let (lease, job) = bench.claim(2).await.remove(0);
    bench.store.save(&lease, &ended(&job, Phase::Done), Vec::new()).await.unwrap();
    bench.claim(10).await;
    let expected = [NotificationSubject::JobEnded(id(1)), NotificationSubject::BatchHalted(batch_id(1))];
    assert_eq!(subjects(&bench.due(99).await), expected);
    let cancel = crate::store::BatchChange::Cancel { running: false };
    bench.store.change_batch(batch_id(1), cancel, at(11)).await.unwrap();
    for (lease, job) in bench.claim(12).await {
        bench.store.save(&lease, &ended(&job, Phase::Done), Vec::new()).await.unwrap();
    }
    bench.claim(13).await;
    assert_eq!(subjects(&bench.due(99).await).last(), Some(&NotificationSubject::BatchEnded(batch_id(1))));
}

async fn a_failed_attempt_puts_a_notification_off(bench: Bench) {
    bench.store.set_notifying(true).await.unwrap();
    let (bench, lease, job) = bench.with_claimed_job().await;
    bench.store.save(&lease, &ended(&job, Phase::Done), Vec::new()).await.unwrap();
    let first = bench.due(9).await.remove(0);
    bench.store.put_notification_off(first.id, at(40)).await.unwrap();
    assert!(bench.due(39).await.is_empty());
    assert_eq!(bench.store.next_notification().await.unwrap(), Some(at(40)));
    assert_eq!(bench.due(40).await, [Notification { attempts: 1, ..first }]);
}

async fn a_notification_is_taken_by_one_controller(bench: Bench) {
    bench.store.set_notifying(true).await.unwrap();
    let (bench, lease, job) = bench.with_claimed_job().await;
    bench.store.save(&lease, &ended(&job, Phase::Done), Vec::new()).await.unwrap();
    let other = bench.store.second_handle();
    let taken = bench.store.take_notifications(at(10), at(60), 9).await.unwrap();
    assert_eq!(subjects(&taken), [NotificationSubject::JobEnded(id(1))]);
    assert!(other.take_notifications(at(59), at(90), 9).await.unwrap().is_empty());
    assert_eq!(other.take_notifications(at(60), at(90), 9).await.unwrap(), taken, "the first one died");
}
