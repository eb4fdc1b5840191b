//! Promises about bearer tokens: their names, and how they end.

use jiff::Timestamp;

use super::{Bench, at};
use crate::access::{NewToken, Role, Standing, TokenId, TokenOrigin, TokenRecord};
use crate::store::StoreError;

promises! {
    a_token_is_found_by_its_text,
    two_live_tokens_have_two_names,
    a_revoked_token_stays_revoked,
    a_token_expires,
    the_last_live_admin_token_stays,
    a_settled_token_replaces_the_one_before,
    the_last_use_is_kept_to_the_minute,
    a_session_ends_before_its_time,
}

fn new(number: u8, name: &str, role: Role) -> NewToken {
    NewToken {
        id: TokenId::new([number; 8]),
        name: name.to_owned(),
        role,
        origin: TokenOrigin::Created,
        expires_at: None,
        created_at: at(number.into()),
        created_by: "test".to_owned(),
    }
}

async fn shown(bench: &Bench, text: &str) -> Option<TokenRecord> {
    bench.store.token_shown(text).await.unwrap()
}

fn is_taken(result: Result<TokenRecord, StoreError>) -> bool {
    matches!(result, Err(StoreError::TokenExists { .. }))
}

async fn a_token_is_found_by_its_text(bench: Bench) {
    let expires_at: Option<Timestamp> = Some(at(99));
    let kept = NewToken { expires_at, ..new(2, "ci", Role::Operator) };
    let written = bench.store.insert_token(kept, "secret-2").await.unwrap();
    bench.store.insert_token(new(1, "first", Role::Admin), "secret-1").await.unwrap();
    let bench = bench.restarted().await;
    assert_eq!(shown(&bench, "secret-2").await, Some(written.clone()));
    assert_eq!(bench.store.token(&written.id).await.unwrap(), Some(written.clone()));
    assert_eq!(
        (written.role, written.expires_at, written.created_by.as_str()),
        (Role::Operator, expires_at, "test")
    );
    assert_eq!(shown(&bench, "secret-3").await, None);
    assert_eq!(bench.store.token(&TokenId::new([3; 8])).await.unwrap(), None);
    let names: Vec<String> =
        bench.store.tokens().await.unwrap().into_iter().map(|token| token.name).collect();
    assert_eq!(names, ["first", "ci"], "the oldest first");
}

async fn two_live_tokens_have_two_names(bench: Bench) {
    let store = &bench.store;
    let first = store.insert_token(new(1, "ci", Role::Viewer), "secret-1").await.unwrap();
    assert!(is_taken(store.insert_token(new(2, "ci", Role::Viewer), "secret-2").await));
    assert!(is_taken(store.insert_token(new(2, "other", Role::Viewer), "secret-1").await), "the same text");
    store.revoke_token(&first.id, at(3)).await.unwrap();
    store.insert_token(new(4, "ci", Role::Viewer), "secret-4").await.unwrap();
}

async fn a_revoked_token_stays_revoked(bench: Bench) {
    let token = bench.store.insert_token(new(1, "ci", Role::Viewer), "secret").await.unwrap();
    let revoked = bench.store.revoke_token(&token.id, at(5)).await.unwrap();
    assert_eq!(revoked.revoked_at, Some(at(5)));
    assert_eq!(bench.store.revoke_token(&token.id, at(6)).await.unwrap(), revoked, "by the first request");
    let bench = bench.restarted().await;
    assert_eq!(shown(&bench, "secret").await, Some(revoked));
    let error = bench.store.revoke_token(&TokenId::new([9; 8]), at(5)).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownToken { .. }), "{error}");
}

async fn a_token_expires(bench: Bench) {
    let until = NewToken { expires_at: Some(at(50)), ..new(1, "ci", Role::Admin) };
    bench.store.insert_token(until, "secret").await.unwrap();
    let token = shown(&bench, "secret").await.unwrap();
    assert_eq!((token.standing(at(49)), token.standing(at(50))), (Standing::Live, Standing::Expired));
    assert!(bench.store.has_created_admin(at(49)).await.unwrap());
    assert!(!bench.store.has_created_admin(at(50)).await.unwrap());
    let late = NewToken { created_at: at(50), ..new(2, "ci", Role::Admin) };
    bench.store.insert_token(late, "secret-2").await.unwrap();
}

async fn the_last_live_admin_token_stays(bench: Bench) {
    let store = &bench.store;
    let first = store.insert_token(new(1, "first", Role::Admin), "secret-1").await.unwrap();
    let ends = NewToken { expires_at: Some(at(50)), ..new(2, "ends", Role::Admin) };
    store.insert_token(ends, "secret-2").await.unwrap();
    store.insert_token(new(3, "viewer", Role::Viewer), "secret-3").await.unwrap();
    let refused = store.revoke_token(&first.id, at(50)).await.unwrap_err();
    assert!(matches!(refused, StoreError::LastAdminToken), "{refused}");
    store.revoke_token(&first.id, at(49)).await.unwrap();
}

async fn a_settled_token_replaces_the_one_before(bench: Bench) {
    let store = &bench.store;
    let from = |number, origin| NewToken { origin, ..new(number, "bootstrap", Role::Admin) };
    store.settle_admin_token(from(1, TokenOrigin::Environment), "text-1").await.unwrap();
    store.settle_admin_token(from(2, TokenOrigin::File), "text-2").await.unwrap();
    store.settle_admin_token(from(3, TokenOrigin::Environment), "text-1").await.unwrap();
    assert_eq!(store.tokens().await.unwrap().len(), 2, "it is there already");
    store.settle_admin_token(from(4, TokenOrigin::Environment), "text-4").await.unwrap();
    let ended = shown(&bench, "text-1").await.unwrap();
    assert_eq!(ended.revoked_at, Some(at(4)));
    assert_eq!(shown(&bench, "text-2").await.unwrap().revoked_at, None, "of another origin");
    let again = store.settle_admin_token(from(5, TokenOrigin::Environment), "text-1").await.unwrap();
    assert_eq!(again.revoked_at, Some(at(4)), "revoked once, revoked permanently");
    assert!(!store.has_created_admin(at(6)).await.unwrap());
}

async fn the_last_use_is_kept_to_the_minute(bench: Bench) {
    let store = &bench.store;
    store.insert_token(new(1, "ci", Role::Viewer), "secret").await.unwrap();
    for (used, from, kept) in [(10, "a", (10, "a")), (69, "b", (10, "a")), (70, "c", (70, "c"))] {
        let token = shown(&bench, "secret").await.unwrap();
        store.note_token_use(&token, at(used), Some(from.to_owned())).await.unwrap();
        let token = shown(&bench, "secret").await.unwrap();
        assert_eq!((token.last_used_at, token.last_used_from.as_deref()), (Some(at(kept.0)), Some(kept.1)));
    }
}

async fn a_session_ends_before_its_time(bench: Bench) {
    let has_ended = async |bench: &Bench, id| bench.store.session_has_ended(id).await.unwrap();
    bench.store.end_session("one", at(60), at(1)).await.unwrap();
    bench.store.end_session("one", at(60), at(2)).await.unwrap();
    assert!(has_ended(&bench, "one").await && !has_ended(&bench, "two").await);
    let bench = bench.restarted().await;
    assert!(has_ended(&bench, "one").await);
    bench.store.end_session("two", at(99), at(60)).await.unwrap();
    assert!(!has_ended(&bench, "one").await && has_ended(&bench, "two").await, "it would be over by now");
}
