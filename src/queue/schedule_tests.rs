//! What the schedule promises.

use super::*;
use crate::mail::envelope::{Body, Demands, Submitter};
use crate::wire::path::ReversePath;

const A: (DestinationNumber, &str) = (1, "a.example");

fn id(number: i64) -> QueueId {
    QueueId::from_number(number).unwrap()
}

fn lease(number: i64, from: &str) -> Lease {
    Lease {
        id: id(number),
        destination: A.1.into(),
        reverse_path: ReversePath::parse(&format!("<{from}>")).unwrap(),
        body: Body::SevenBit,
        size_octets: 1,
        arrived: Timestamp(5),
        expires: Timestamp(1_000),
        submitter: Submitter::local("test"),
        demands: Demands::default(),
        recipients: Vec::new(),
        is_probe: false,
        failures: 0,
    }
}

fn arrive(schedule: &mut Schedule, number: i64, from: &str) {
    schedule.arrive(id(number), A);
    assert!(schedule.is_leased(id(number), A.0), "no look-up gives it out meanwhile");
    if schedule.accepts_fresh(A.0, 1, 0) {
        schedule.admit(A.0, lease(number, from), Some(Bytes::from_static(b"x")), true);
    } else {
        schedule.release(id(number), A.0, false, Next::Now);
    }
}

fn ready(schedule: &Schedule) -> Option<Ready> {
    schedule.first_ready().map(|(ready, _)| ready)
}

#[test]
fn destinations_are_served_in_turn() {
    let mut schedule = Schedule::default();
    for destination in [1, 2, 3] {
        schedule.wake(destination);
    }
    let mut order = Vec::new();
    for _ in 0..6 {
        let (ready, _) = schedule.first_ready().unwrap();
        order.push(ready.destination);
        schedule.served(ready);
    }
    assert_eq!(order, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn destination_woken_during_its_look_up_stays_ready() {
    let mut schedule = Schedule::default();
    schedule.wake(1);
    let looked_at = ready(&schedule).unwrap();
    schedule.wake(1);
    schedule.wait(looked_at, None);
    assert!(ready(&schedule).is_some());
}

#[test]
fn waiting_destination_is_ready_at_its_time() {
    let mut schedule = Schedule::default();
    schedule.wake(1);
    let looked_at = ready(&schedule).unwrap();
    schedule.wait(looked_at, Some(Timestamp(10)));
    schedule.advance(Timestamp(9));
    assert_eq!(schedule.first_ready(), None);
    assert_eq!(schedule.first_waiting(), Some(Timestamp(10)));
    schedule.advance(Timestamp(10));
    assert!(ready(&schedule).is_some());
}

#[test]
fn lease_that_ends_within_a_scan_holds_until_its_end() {
    let mut schedule = Schedule::default();
    schedule.lease(id(5), A);
    schedule.begin_scan();
    schedule.release(id(5), A.0, true, Next::Nothing);
    assert!(schedule.is_leased(id(5), A.0));
    schedule.end_scan();
    assert!(!schedule.is_leased(id(5), A.0));
    assert_eq!(schedule.leases(), 0);
}

#[test]
fn stranger_lease_that_ends_within_a_scan_is_not_lost() {
    for next in [Next::Now, Next::At(Timestamp(100))] {
        let mut schedule = Schedule::default();
        schedule.wake(A.0);
        let looked_at = ready(&schedule).unwrap();
        schedule.lease(id(5), A);
        schedule.served(looked_at);
        schedule.wait(looked_at, None);
        // Another destination is being looked at ...
        schedule.begin_scan();
        // ... the writer settles: Retry later.
        schedule.release(id(5), A.0, true, next);
        // The scan comes to the destination and passes over what is leased still.
        if let Some(looked_at) = ready(&schedule) {
            assert!(schedule.is_leased(id(5), A.0));
            schedule.served(looked_at);
            schedule.wait(looked_at, None);
        }
        schedule.end_scan();
        assert!(
            schedule.first_ready().is_some() || schedule.first_waiting().is_some(),
            "nobody will ever look at it again"
        );
    }
}

#[test]
fn settling_mail_from_memory_wakes_nobody_and_its_retry_only_at_its_time() {
    let mut schedule = Schedule::default();
    for (number, next, waiting) in [
        (1, Next::Nothing, None),
        (2, Next::At(Timestamp(70)), Some(Timestamp(70))),
    ] {
        arrive(&mut schedule, number, "a@x");
        assert_eq!(schedule.take_fresh(Timestamp(60), 1).len(), 1);
        schedule.release(id(number), A.0, true, next);
        assert_eq!((schedule.first_ready(), schedule.first_waiting()), (None, waiting));
    }
}

#[test]
fn settling_mail_from_the_store_has_the_rest_of_its_message_looked_at() {
    for next in [Next::Nothing, Next::At(Timestamp(70))] {
        let mut schedule = Schedule::default();
        schedule.lease(id(1), A);
        schedule.release(id(1), A.0, true, next);
        assert!(schedule.first_ready().is_some());
    }
}

#[test]
fn full_destination_is_ready_again_when_a_lease_ends() {
    let mut schedule = Schedule::default();
    schedule.wake(A.0);
    for number in 0..i64::try_from(LEASES_PER_DESTINATION_MAX).unwrap() {
        assert!(schedule.room(A.0) > 0);
        schedule.lease(id(number), A);
    }
    assert_eq!(schedule.room(A.0), 0);
    let looked_at = ready(&schedule).unwrap();
    schedule.wait_for_room(looked_at);
    schedule.wake(A.0);
    assert_eq!(schedule.first_ready(), None, "mail that comes meanwhile needs no look");
    schedule.release(id(0), A.0, true, Next::Nothing);
    assert!(ready(&schedule).is_some());
    assert_eq!(schedule.room(A.0), 1);
}

#[test]
fn destination_that_rests_gives_one_probe_when_its_rest_is_over() {
    let mut schedule = Schedule::default();
    schedule.advance(Timestamp(10));
    let failures = schedule.failures_after(A.0, Timestamp(50));
    schedule.back_off(A.0, Timestamp(50), failures);
    schedule.wake(A.0);
    assert_eq!((schedule.first_ready(), schedule.room(A.0)), (None, 0));
    assert_eq!(
        schedule.failures_after(A.0, Timestamp(60)),
        1,
        "what fails together counts once"
    );
    schedule.advance(Timestamp(50));
    assert_eq!(schedule.room(A.0), 1);
    let looked_at = ready(&schedule).unwrap();
    let standing = schedule.lease(id(1), A);
    assert_eq!((standing.is_probe, standing.failures), (true, 1));
    assert_eq!(schedule.room(A.0), 0);
    schedule.wait_for_room(looked_at);
    // It fails: a longer rest, and its lease ends.
    assert_eq!(schedule.failures_after(A.0, Timestamp(150)), 2);
    schedule.back_off(A.0, Timestamp(150), 2);
    schedule.release(id(1), A.0, true, Next::At(Timestamp(90)));
    assert_eq!((schedule.first_ready(), schedule.room(A.0)), (None, 0));
    assert_eq!(schedule.first_waiting(), Some(Timestamp(150)));
    // The next one does not.
    schedule.advance(Timestamp(150));
    let looked_at = ready(&schedule).unwrap();
    assert!(schedule.lease(id(1), A).is_probe);
    schedule.wait_for_room(looked_at);
    schedule.back_off(A.0, Timestamp::default(), 0);
    schedule.release(id(1), A.0, true, Next::Nothing);
    assert_eq!(schedule.room(A.0), LEASES_PER_DESTINATION_MAX);
    assert!(ready(&schedule).is_some());
    assert_eq!(schedule.failures_after(A.0, Timestamp(200)), 1);
}

#[test]
fn probe_settled_without_a_new_rest_opens_the_destination_and_an_abandoned_one_does_not() {
    let mut schedule = Schedule::default();
    schedule.back_off(A.0, Timestamp(50), 3);
    schedule.wake(A.0);
    schedule.advance(Timestamp(50));
    assert!(schedule.lease(id(1), A).is_probe);
    assert!(schedule.abandon(id(1), A.1));
    assert!(!schedule.abandon(id(1), A.1), "it has ended");
    assert_eq!(schedule.room(A.0), 1, "another probe");
    let standing = schedule.lease(id(2), A);
    assert_eq!((standing.is_probe, standing.failures), (true, 3));
    assert_eq!(schedule.begin_settling(id(2), A.1), Some(A.0));
    assert_eq!(schedule.begin_settling(id(2), A.1), None, "once");
    schedule.release(id(2), A.0, true, Next::Nothing);
    assert_eq!(schedule.room(A.0), LEASES_PER_DESTINATION_MAX);
    assert_eq!(
        schedule.failures_after(A.0, Timestamp(200)),
        4,
        "the count ends by the epoch only"
    );
}

#[test]
fn fresh_mail_is_given_out_without_a_look_and_goes_by_the_store_when_its_destination_rests() {
    let mut schedule = Schedule::default();
    schedule.advance(Timestamp(10));
    for number in 0..3 {
        arrive(&mut schedule, number, "a@a");
    }
    assert_eq!((schedule.fresh_waiting(), schedule.first_ready()), (3, None));
    assert_eq!(schedule.first_fresh(), Some(Timestamp(5)));
    assert_eq!(schedule.take_fresh(Timestamp(10), 1).len(), 1);
    schedule.back_off(A.0, Timestamp(50), 1);
    assert_eq!(schedule.fresh_waiting(), 0);
    assert_eq!(schedule.leases(), 1, "the one under delivery");
    assert_eq!(schedule.first_waiting(), Some(Timestamp(50)));
    arrive(&mut schedule, 9, "a@a");
    assert_eq!((schedule.fresh_waiting(), schedule.leases()), (0, 1));
    assert_eq!(schedule.data(id(9)), None);
}

#[test]
fn fresh_mail_of_a_clock_that_goes_back_goes_by_the_store() {
    let mut schedule = Schedule::default();
    arrive(&mut schedule, 1, "a@a");
    assert_eq!(schedule.take_fresh(Timestamp(4), 10), []);
    assert_eq!((schedule.fresh_waiting(), schedule.leases()), (0, 0));
    assert_eq!(schedule.first_waiting(), Some(Timestamp(5)));
}

#[test]
fn fresh_mail_is_taken_back_unless_a_delivery_has_it() {
    let mut schedule = Schedule::default();
    arrive(&mut schedule, 1, "a@a");
    arrive(&mut schedule, 2, "a@a");
    assert!(schedule.take_back(id(2)));
    assert!(schedule.take_back(id(7)), "nothing of it is leased");
    assert_eq!(schedule.take_fresh(Timestamp(10), 10).len(), 1);
    assert!(!schedule.take_back(id(1)));
    assert_eq!(schedule.data(id(1)).as_deref(), Some(&b"x"[..]));
    schedule.release(id(1), A.0, true, Next::Nothing);
    assert_eq!(schedule.data(id(1)), None, "dropped with its lease");
}

#[test]
fn store_keeps_a_part_while_fresh_mail_keeps_coming() {
    let mut schedule = Schedule::default();
    schedule.wake(A.0);
    for number in 0..200 {
        arrive(&mut schedule, number, "a@a");
    }
    let taken = schedule.take_fresh(Timestamp(10), 1_000).len();
    assert_eq!(taken, LEASES_PER_DESTINATION_MAX / 4 * 3);
    assert_eq!(schedule.room(A.0), LEASES_PER_DESTINATION_MAX / 4);
    let shares: Vec<usize> = (0..4).map(|_| schedule.fresh_share(1)).collect();
    assert_eq!(
        shares.iter().sum::<usize>(),
        3,
        "one look in four begins with the store"
    );
    assert!(schedule.fresh_share(100) < 80);
}

#[test]
fn chosen_senders_take_turns_over_look_ups() {
    let mut schedule = Schedule::default();
    schedule.wake(A.0);
    let mut queued: Vec<(SenderKey, i64)> = (0..6).map(|number| (7, number)).collect();
    queued.extend([(3, 10), (9, 20)]);
    let mut order = Vec::new();
    while !queued.is_empty() {
        let looked_at = ready(&schedule).unwrap();
        let chosen = schedule.choose(looked_at, queued.iter().map(|item| (item.0, *item)).collect(), 1);
        queued.retain(|item| !chosen.contains(item));
        order.extend(chosen.iter().map(|(_, number)| *number));
    }
    assert!(order.iter().position(|number| *number == 10).unwrap() < 3, "{order:?}");
    assert!(order.iter().position(|number| *number == 20).unwrap() < 3, "{order:?}");
}
