//! The server's answers: the list of tools, and the calls.

use std::collections::HashMap;
use std::sync::Arc;

use capsule_host::runtime::Capsule;
use capsule_host::supervisor::Principal;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, Implementation, JsonObject, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::recent::Recent;
use super::result;
use super::tools::Starts;
use crate::denials;

/// What a tool calls.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) capsule: Capsule,
    pub(super) principal: Principal,
    pub(super) action: String,
    pub(super) recent: Arc<Recent>,
    pub(super) starts: Option<Starts>,
    /// The places of the calls that may wait, for a tool that may.
    pub(super) waiting: Option<Arc<Semaphore>>,
}

/// How many calls that may wait a capsule makes at once. It is below the number of instances that its host runs, so that a call that
/// does not wait finds a place.
pub(super) const WAITING_MAX: usize = 48;

/// The tools, in the order in which they are listed.
#[derive(Debug)]
pub(super) struct Server {
    tools: Vec<Tool>,
    targets: HashMap<String, Target>,
    /// Ends the calls under way.
    calls: CancellationToken,
}

impl Server {
    pub(super) fn new(calls: CancellationToken) -> Self {
        Self {
            tools: Vec::new(),
            targets: HashMap::new(),
            calls,
        }
    }

    pub(super) fn add(&mut self, tool: Tool, target: Target) {
        self.targets.insert(tool.name.to_string(), target);
        self.tools.push(tool);
    }
}

impl Target {
    async fn call(&self, arguments: Option<JsonObject>) -> CallToolResponse {
        let place = self.waiting.as_ref().map(|waiting| waiting.try_acquire());
        if let Some(Err(_)) = place {
            return result::ended(&format!(
                "quota: {WAITING_MAX} calls of this capsule that may wait are under way, and no more are made at once: cancel some, \
                 or try again when some have ended"
            ))
            .into();
        }
        let command = arguments.as_ref().and_then(|arguments| arguments.get("command"));
        let command = command.and_then(|command| command.as_str()).map(str::to_owned);
        // A map of JSON values is JSON.
        let payload = arguments.map(|arguments| serde_json::to_vec(&arguments).unwrap_or_default());
        let mark = self.recent.mark();
        let called = self
            .capsule
            .call(self.principal.clone(), &self.action, payload.unwrap_or_default());
        let outcome = called.await;
        let mut denied = self.recent.since(mark);
        // Of a flood of denials the runtime tells only a part, and the agent must learn of each what would change it.
        let is_denied = |data: &String| data.contains("capability-denied");
        if let (Ok(outcome), Some(command), Some(starts)) = (&outcome, command, &self.starts)
            && denied.is_empty()
            && outcome.data.as_ref().is_some_and(is_denied)
        {
            denied.push(denials::grant_text(&starts.refusal(&command)));
        }
        CallToolResponse::from(result::tool_result(outcome, denied))
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("capsule", env!("CARGO_PKG_VERSION")))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.clone()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(target) = self.targets.get(&*request.name) else {
            return Err(ErrorData::invalid_params(
                format!("there is no tool {:?}", request.name),
                None,
            ));
        };
        tracing::info!(tool = %request.name, "calling");
        tokio::select! {
            // Dropping the call ends its instance. The end of the server also cancels its requests, which are then answered.
            biased;
            () = self.calls.cancelled() => Ok(result::ended("the server ends, and its processes with it").into()),
            // The library sends no answer.
            () = context.ct.cancelled() => Ok(result::ended("the call was cancelled").into()),
            response = target.call(request.arguments) => Ok(response),
        }
    }
}
