//! What tools answer. Here, too, the switch has a case for everything that the document knows, and nothing else.

import type { components } from './generated/openapi.js';

export type ToolResponse = components['schemas']['ToolResponse'];

/** The answer in the output of a call. Long ones and those of calls that were stopped are no JSON. */
export function parse(output: unknown): ToolResponse | undefined {
  try {
    return JSON.parse(String(output)) as ToolResponse;
  } catch {
    return undefined;
  }
}

function unreachable(response: never): never {
  throw new Error(`an answer that the document does not know: ${JSON.stringify(response)}`);
}

/** The line that a user interface would show above the details. */
export function headline(response: ToolResponse): string {
  switch (response.type) {
    case 'calculation':
      return `${response.expression} = ${response.result}`;
    case 'current_time':
      return `${response.weekday}, ${response.utc}`;
    case 'error':
      return response.error ?? response.message;
    case 'bash_exec':
      return response.timed_out ? 'timed out' : `exit ${response.exit_code}`;
    case 'web_fetch':
      return `${response.status_code} of ${response.url}`;
    case 'browser_navigate':
      return response.title;
    case 'browser_act':
      return response.action;
    case 'browser_screenshot':
      return response.filename;
    case 'doc_search_results':
    case 'feature_request_search':
    case 'agents_found':
    case 'block_list':
    case 'folder_list':
      return `${response.count} found`;
    case 'workspace_file_list':
      return `${response.total_count} files`;
    case 'workspace_file_content':
    case 'workspace_file_metadata':
    case 'workspace_file_written':
      return response.path;
    case 'workspace_file_deleted':
      return response.file_id;
    case 'todo_write':
      return `${response.todos.length} things to do`;
    case 'understanding_updated':
      return response.updated_fields.join(', ');
    case 'agent_builder_validation_result':
      return `${response.error_count} mistakes`;
    case 'agent_builder_fix_result':
      return `${response.fix_count} fixes`;
    case 'agent_builder_clarification_needed':
      return `${response.questions.length} questions`;
    case 'mcp_tools_discovered':
      return `${response.tools.length} tools`;
    case 'agent_builder_guide':
    case 'agent_builder_preview':
    case 'agent_builder_saved':
    case 'agent_details':
    case 'agent_output':
    case 'agents_moved_to_folder':
    case 'block_details':
    case 'block_output':
    case 'doc_page':
    case 'execution_started':
    case 'feature_request_created':
    case 'folder_created':
    case 'folder_deleted':
    case 'folder_moved':
    case 'folder_updated':
    case 'input_validation_error':
    case 'mcp_guide':
    case 'mcp_tool_output':
    case 'need_login':
    case 'no_results':
    case 'review_required':
    case 'setup_requirements':
    case 'suggested_goal':
      return response.message;
    default:
      return unreachable(response);
  }
}
