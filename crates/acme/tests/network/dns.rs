//! A DNS server for tests: TXT records that a test sets, and this machine's loopback address for every name.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, TXT};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;

/// The largest question in bytes.
const LARGEST: usize = 4096;

pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    /// The texts of each name, a final dot at its end. One that has several strings is cut where the test says.
    texts: Arc<Mutex<HashMap<String, Vec<Vec<String>>>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Dns {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let texts = Arc::<Mutex<HashMap<String, Vec<Vec<String>>>>>::default();
        let served = Arc::clone(&texts);
        let serving = tokio::spawn(async move {
            let mut buffer = [0; LARGEST];
            loop {
                let (length, client) = socket.recv_from(&mut buffer).await.expect("a question");
                let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
                let answer = answer(&question, &served.lock().expect("no test panics with it"));
                socket.send_to(&answer.to_vec().expect("an answer"), client).await.expect("sent");
            }
        });
        Self { address, texts, serving }
    }

    /// Sets the TXT records of a name: each is a list of strings.
    pub(crate) fn set(&self, name: &str, records: &[&[&str]]) {
        let records = records.iter().map(|record| record.iter().map(|&text| text.to_owned()).collect()).collect();
        self.texts.lock().expect("no test panics with it").insert(format!("{name}."), records);
    }
}

fn answer(question: &Message, texts: &HashMap<String, Vec<Vec<String>>>) -> Message {
    let mut answer = Message::new();
    answer.set_id(question.id()).set_message_type(MessageType::Response).set_recursion_available(true);
    for query in question.queries() {
        answer.add_query(query.clone());
        let name = query.name().to_lowercase().to_ascii();
        let records = match query.query_type() {
            RecordType::A => vec![RData::A(A::new(127, 0, 0, 1))],
            RecordType::TXT => match texts.get(&name) {
                Some(records) => records.iter().map(|texts| RData::TXT(TXT::new(texts.clone()))).collect(),
                None => {
                    answer.set_response_code(ResponseCode::NXDomain);
                    Vec::new()
                }
            },
            _ => Vec::new(),
        };
        answer.add_answers(records.into_iter().map(|data| Record::from_rdata(query.name().clone(), 60, data)));
    }
    answer
}
