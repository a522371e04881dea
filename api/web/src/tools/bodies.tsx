// Which card shows which type of answer. A type without a card of its own shows its sentence.

import type { ReactNode } from 'react';

import { moment } from '../page/numbers';
import { Agents } from './Agents';
import { Calculation } from './Calculation';
import { Files } from './Files';
import { Page } from './Page';
import { Questions } from './Questions';
import type { ToolResponse } from './response';
import { SearchResults } from './SearchResults';
import { Terminal } from './Terminal';
import { Todos } from './Todos';

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
      return <Page title={response.title} url={response.doc_url ?? undefined} content={response.content} />;
    case 'web_fetch':
      return <Page title={`${response.status_code}`} url={response.url} content={response.content} />;
    case 'workspace_file_list':
      return <Files files={response.files} />;
    case 'workspace_file_written':
      return <Files files={[response]} />;
    case 'agents_found':
      return <Agents response={response} />;
    case 'agent_builder_clarification_needed':
      return <Questions response={response} onSuggest={onSuggest} />;
    case 'current_time':
      return <p className="figure">{moment(response.utc)}</p>;
    default:
      return <p>{response.message}</p>;
  }
}
