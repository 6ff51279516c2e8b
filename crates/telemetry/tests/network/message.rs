//! Messages as the protocol's own descriptors read them: fields by their names, and none that the protocol does not know.

use std::sync::LazyLock;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _, Value};

/// What was made from the published files of the protocol.
static PROTOCOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(opentelemetry_proto::DESCRIPTORS).expect("descriptors"));

/// A message of the protocol.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message(DynamicMessage);

fn kind(name: &str) -> MessageDescriptor {
    PROTOCOL.get_message_by_name(&format!("opentelemetry.proto.{name}")).expect("a message of the protocol")
}

impl Message {
    /// Reads a message of a kind, by its name below `opentelemetry.proto`.
    pub(crate) fn decode(name: &str, bytes: &[u8]) -> Self {
        Self::of(DynamicMessage::decode(kind(name), bytes).expect("a message of the protocol"))
    }

    /// An `ExportTraceServiceResponse`, in bytes.
    pub(crate) fn partial_success(rejected_spans: i64, error_message: &str) -> Vec<u8> {
        let mut partial = DynamicMessage::new(kind("collector.trace.v1.ExportTracePartialSuccess"));
        partial.set_field_by_name("rejected_spans", Value::I64(rejected_spans));
        partial.set_field_by_name("error_message", Value::String(error_message.to_owned()));
        let mut response = DynamicMessage::new(kind("collector.trace.v1.ExportTraceServiceResponse"));
        response.set_field_by_name("partial_success", Value::Message(partial));
        response.encode_to_vec()
    }

    fn of(message: DynamicMessage) -> Self {
        assert_eq!(message.unknown_fields().count(), 0, "the protocol does not know all of {message:?}");
        Self(message)
    }

    fn field(&self, name: &str) -> Value {
        self.0.get_field_by_name(name).expect("a field of the protocol").into_owned()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.field(name).as_str().expect("a text").to_owned()
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.field(name).as_bytes().expect("bytes").to_vec()
    }

    /// A number without a sign.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let value = self.field(name);
        value.as_u64().or(value.as_u32().map(u64::from)).expect("a number")
    }

    /// The name of an enumeration's value.
    pub(crate) fn variant(&self, name: &str) -> String {
        let field = self.0.descriptor().get_field_by_name(name).expect("a field of the protocol");
        let Kind::Enum(values) = field.kind() else { panic!("{name} is no enumeration") };
        let number = self.field(name).as_enum_number().expect("a number");
        values.get_value(number).expect("a value of the protocol").name().to_owned()
    }

    /// A message in this one, if it is there.
    pub(crate) fn message(&self, name: &str) -> Option<Self> {
        let value = self.0.has_field_by_name(name).then(|| self.field(name))?;
        Some(Self::of(value.as_message().expect("a message").clone()))
    }

    /// The messages of a list.
    pub(crate) fn list(&self, name: &str) -> Vec<Self> {
        let value = self.field(name);
        let items = value.as_list().expect("a list").iter();
        items.map(|item| Self::of(item.as_message().expect("a message").clone())).collect()
    }

    /// Its attributes as text, each with the field that its value is in.
    pub(crate) fn attributes(&self) -> Vec<String> {
        let show = |attribute: Self| {
            let value = attribute.message("value").expect("a value");
            let (field, value) = value.0.fields().next().expect("a value of some type");
            let value = match value {
                Value::String(text) => format!("{text:?}"),
                Value::I64(number) => format!("{number}"),
                Value::F64(number) => format!("{number}"),
                Value::Bool(yes) => format!("{yes}"),
                other => panic!("{other:?} is never sent"),
            };
            format!("{}={} {value}", attribute.text("key"), field.name().trim_end_matches("_value"))
        };
        self.list("attributes").into_iter().map(show).collect()
    }
}
