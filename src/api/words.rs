//! The closed sets of words in the API, as enumerations of its description.
//!
//! Nothing here is ever made: answers hold the domain's own names. Invariant: a set is what the domain says,
//! which a test compares, so that a client made of the description knows every word that it can be sent.

use std::borrow::Cow;

use strum::VariantNames;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::access::{Role, Standing};
use crate::doctor::Readiness;
use crate::domain::{
    BatchStatus, Confidence, DeadlineKind, EventStatus, EvidenceKind, FailureCode, Level, MediaLayout,
    Outcome, Status, Step,
};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $words:expr;)*) => {$(
        $(#[$doc])*
        pub struct $name;

        impl $name {
            fn words() -> Vec<&'static str> {
                $words.to_vec()
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                enumeration($name::words())
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )*};
}

fn enumeration(words: Vec<&'static str>) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

words! {
    JobStatus = Status::VARIANTS;
    /// The reasons for which a job fails. Later releases add codes.
    FailureCodeName = FailureCode::VARIANTS;
    BatchStatusName = BatchStatus::VARIANTS;
    BatchRowState = &["waiting", "running", "succeeded", "failed", "cancelled"];
    StepName = &Step::ALL.map(Step::name);
    EventLevel = Level::VARIANTS;
    DeadlineKindName = DeadlineKind::VARIANTS;
    EventStatusName = EventStatus::VARIANTS;
    OutcomeName = Outcome::VARIANTS;
    ConfidenceName = Confidence::VARIANTS;
    EvidenceKindName = EvidenceKind::VARIANTS;
    CleanupState = &["pending", "done", "partial"];
    RoleName = Role::VARIANTS;
    TokenStatus = Standing::VARIANTS;
    TokenOriginName = &["created", "file", "environment"];
    CheckVerdict = Readiness::VARIANTS;
    CheckStatus = crate::doctor::CheckStatus::VARIANTS;
    FindingClass = shoal_kickstart::Class::VARIANTS;
    MediaLayoutName = MediaLayout::VARIANTS;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schemars::JsonSchema;
    use serde_json::Value;

    use super::*;

    /// Every text that a derived schema allows, wherever it says so.
    fn stored<T: JsonSchema>() -> BTreeSet<String> {
        fn collect(schema: &Value, words: &mut BTreeSet<String>) {
            let listed = schema["enum"].as_array().into_iter().flatten().chain([&schema["const"]]);
            words.extend(listed.filter_map(Value::as_str).map(str::to_owned));
            let nested = schema["oneOf"].as_array().into_iter().flatten();
            nested.for_each(|schema| collect(schema, words));
        }
        let mut words = BTreeSet::new();
        collect(schemars::schema_for!(T).as_value(), &mut words);
        words
    }

    #[track_caller]
    fn check<T: JsonSchema>(words: Vec<&str>) {
        let described: BTreeSet<String> = words.into_iter().map(str::to_owned).collect();
        assert_eq!(described, stored::<T>());
    }

    #[test]
    fn every_set_is_what_the_domain_says() {
        check::<Level>(EventLevel::words());
        check::<EventStatus>(EventStatusName::words());
        check::<Step>(StepName::words());
        check::<DeadlineKind>(DeadlineKindName::words());
        check::<FailureCode>(FailureCodeName::words());
        check::<Outcome>(OutcomeName::words());
        check::<Confidence>(ConfidenceName::words());
        check::<EvidenceKind>(EvidenceKindName::words());
        check::<MediaLayout>(MediaLayoutName::words());
    }
}
