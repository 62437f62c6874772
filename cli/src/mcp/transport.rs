//! The transport of the protocol's library, which reads no further request while too many answers wait to be written.
//!
//! The library gives each answer a task, and writes them in turn. So the answers to a client that sends requests and does not read
//! would grow without a bound. A client that sends many requests before it reads must not be stopped for that: the bound is in
//! bytes, and far above what such a client causes.
//!
//! While the transport does not read, it does not see the end of the input either. A client that ends closes both, so writing fails
//! and reading goes on; a client that keeps the output open and unread must send a signal.

use std::io;

use rmcp::RoleServer;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::watch;

/// The bytes of answers that may wait to be written when a further request is read.
const UNWRITTEN_MAX: usize = 16 << 20;

/// See the file.
#[derive(Debug)]
pub(super) struct Bounded<T> {
    inner: T,
    /// The bytes of the answers that wait to be written.
    unwritten: watch::Sender<usize>,
}

/// An answer that waits. Dropping it says that it waits no more, also when its task is aborted.
struct Unwritten {
    bytes: usize,
    all: watch::Sender<usize>,
}

impl<T> Bounded<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            unwritten: watch::Sender::new(0),
        }
    }
}

impl Unwritten {
    fn new(bytes: usize, all: watch::Sender<usize>) -> Self {
        all.send_modify(|all| *all = all.saturating_add(bytes));
        Self { bytes, all }
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        self.all.send_modify(|all| *all = all.saturating_sub(self.bytes));
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Bounded<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let unwritten = Unwritten::new(length(&message), self.unwritten.clone());
        let sending = self.inner.send(message);
        async move {
            let sent = sending.await;
            drop(unwritten);
            sent
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        let mut unwritten = self.unwritten.subscribe();
        // It fails only without a sender, and this holds one.
        drop(unwritten.wait_for(|bytes| *bytes <= UNWRITTEN_MAX).await);
        self.inner.receive().await
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}

/// The bytes of a message as JSON.
fn length(message: &TxJsonRpcMessage<RoleServer>) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What cannot be written as JSON is not sent either.
    drop(serde_json::to_writer(&mut count, message));
    count.0
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use rmcp::model::{CallToolResult, ContentBlock, JsonRpcMessage, RequestId, ServerResult};
    use rmcp::transport::async_rw::AsyncRwTransport;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn no_request_is_read_while_too_many_answers_wait() {
        let (mut requests, input) = duplex(1 << 10);
        let (output, mut answers) = duplex(1 << 10);
        let mut transport = Bounded::new(AsyncRwTransport::new_server(input, output));
        requests
            .write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n")
            .await
            .unwrap();
        let text = "x".repeat(UNWRITTEN_MAX);
        let result = ServerResult::CallToolResult(CallToolResult::success(vec![ContentBlock::text(text)]));
        let mut sending = pin!(transport.send(JsonRpcMessage::response(result, RequestId::Number(0))));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sending.as_mut().poll(&mut context).is_pending());
        {
            let mut receiving = pin!(transport.receive());
            assert!(receiving.as_mut().poll(&mut context).is_pending());
        }
        // The client reads.
        let reading = tokio::spawn(async move {
            let mut rest = Vec::new();
            answers.read_to_end(&mut rest).await
        });
        sending.await.unwrap();
        assert!(matches!(transport.receive().await, Some(JsonRpcMessage::Request(_))));
        drop(transport);
        assert!(reading.await.unwrap().unwrap() > UNWRITTEN_MAX);
    }
}
