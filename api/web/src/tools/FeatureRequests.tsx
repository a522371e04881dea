// What users wish for.

import { Link } from './Link';
import type { Response } from './response';

export function FoundRequests({ response: { results, query } }: { response: Response<'feature_request_search'> }) {
  return (
    <>
      <p className="faint">
        {results.length} for “{query}”
      </p>
      <ul className="plain">
        {results.map(({ id, identifier, title }) => (
          <li key={id}>
            <code>{identifier}</code> {title}
          </li>
        ))}
      </ul>
    </>
  );
}

export function MadeRequest({ response }: { response: Response<'feature_request_created'> }) {
  const { issue_identifier, issue_title, issue_url, is_new_issue } = response;
  return (
    <p>
      <Link url={issue_url}>
        <code>{issue_identifier}</code>
      </Link>{' '}
      {issue_title} <span className="faint">· {is_new_issue ? 'new' : 'one more wishes for it'}</span>
    </p>
  );
}
