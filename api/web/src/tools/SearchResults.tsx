// What the docs say.

import { Link } from './Link';
import type { Response } from './response';

export function SearchResults({ response: { results, query } }: { response: Response<'doc_search_results'> }) {
  return (
    <>
      <p className="faint">
        {results.length} for “{query}”
      </p>
      <ul className="plain">
        {results.map(({ title, section, snippet, path, doc_url }, index) => (
          <li key={index}>
            <strong>
              <Link url={doc_url ?? undefined}>{title || path}</Link>
            </strong>
            {section && <span className="faint"> · {section}</span>}
            <br />
            {snippet}
          </li>
        ))}
      </ul>
    </>
  );
}
