// What Copilot wants to know before it goes on.

import type { Response } from './response';

interface Props {
  response: Response<'agent_builder_clarification_needed'>;
  onSuggest: (text: string) => void;
}

export function Questions({ response: { questions }, onSuggest }: Props) {
  return (
    <ul className="plain">
      {questions.map(({ question, keyword, example }) => (
        <li key={keyword}>
          {question}
          {example && (
            <>
              {' '}
              <button type="button" className="quiet small" onClick={() => onSuggest(example)}>
                {example}
              </button>
            </>
          )}
        </li>
      ))}
    </ul>
  );
}
