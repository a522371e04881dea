// Which card shows which type of answer. A type without a card of its own shows its sentence.

import type { ReactNode } from 'react';

import { moment } from '../page/numbers';
import { Agents } from './Agents';
import { Calculation } from './Calculation';
import { FoundRequests, MadeRequest } from './FeatureRequests';
import { FileContent, FileDescribed } from './FileContent';
import { Files } from './Files';
import { Folders } from './Folders';
import { Goal } from './Goal';
import { McpOutput, McpTools } from './Mcp';
import { Page } from './Page';
import { Questions } from './Questions';
import type { Response, ToolResponse } from './response';
import { SearchResults } from './SearchResults';
import { Setup } from './Setup';
import { Sheet } from './Sheet';
import { Terminal } from './Terminal';
import { Todos } from './Todos';
import { Understanding } from './Understanding';

function Nothing({ response: { message, suggestions } }: { response: Response<'no_results'> }) {
  return (
    <>
      <p>{message}</p>
      {suggestions.length > 0 && <p className="faint">{suggestions.join(' · ')}</p>}
    </>
  );
}

function Failed({ response: { message, error } }: { response: Response<'error'> }) {
  return (
    <p className="bad">
      {message}
      {error && <code>{error}</code>}
    </p>
  );
}

export function bodyOf(response: ToolResponse, onSuggest: (text: string) => void): ReactNode {
  switch (response.type) {
    case 'bash_exec':
      return <Terminal response={response} />;
    case 'calculation':
      return <Calculation response={response} />;
    case 'todo_write':
      return <Todos response={response} />;
    case 'doc_search_results':
      return <SearchResults response={response} />;
    case 'doc_page':
      return <Sheet title={response.title} url={response.doc_url ?? undefined} content={response.content} />;
    case 'web_fetch':
      return <Page title={`${response.status_code}`} url={response.url} content={response.content} />;
    case 'workspace_file_list':
      return <Files files={response.files} />;
    case 'workspace_file_written':
    case 'workspace_file_metadata':
      return <FileDescribed response={response} />;
    case 'workspace_file_content':
      return <FileContent response={response} />;
    case 'agents_found':
      return <Agents response={response} />;
    case 'agent_builder_clarification_needed':
      return <Questions response={response} onSuggest={onSuggest} />;
    case 'suggested_goal':
      return <Goal response={response} onSuggest={onSuggest} />;
    case 'folder_list':
      return <Folders folders={response.tree ?? response.folders} />;
    case 'folder_created':
    case 'folder_updated':
    case 'folder_moved':
      return <Folders folders={[response.folder]} />;
    case 'feature_request_search':
      return <FoundRequests response={response} />;
    case 'feature_request_created':
      return <MadeRequest response={response} />;
    case 'mcp_tools_discovered':
      return <McpTools response={response} />;
    case 'mcp_tool_output':
      return <McpOutput response={response} />;
    case 'mcp_guide':
      return <Sheet title="How to use MCP servers" url={undefined} content={response.content} />;
    case 'setup_requirements':
      return <Setup response={response} onSuggest={onSuggest} />;
    case 'understanding_updated':
      return <Understanding response={response} />;
    case 'no_results':
      return <Nothing response={response} />;
    case 'error':
      return <Failed response={response} />;
    case 'current_time':
      return <p className="figure">{moment(response.utc)}</p>;
    default:
      return <p>{response.message}</p>;
  }
}
