// A tool call: what was asked, and the answer in a card of its type.

import { getToolName } from 'ai';

import { bodyOf } from './bodies';
import { Json } from './Json';
import { responseOf, type ToolPart } from './response';

interface Props {
  part: ToolPart;
  onSuggest: (text: string) => void;
}

type Mood = 'runs' | 'done' | 'failed';

function moodOf(part: ToolPart): Mood {
  if (part.state === 'output-error') return 'failed';
  if (part.state !== 'output-available') return 'runs';
  const { response } = responseOf(part);
  return response?.type === 'error' ? 'failed' : 'done';
}

const MOODS: Record<Mood, string> = { runs: 'running', done: 'done', failed: 'failed' };

export function ToolCard({ part, onSuggest }: Props) {
  const name = getToolName(part).replaceAll('_', ' ');
  const { response, text } = responseOf(part);
  const mood = moodOf(part);
  return (
    <section className={`card ${mood}`} aria-label={`Tool ${name}`}>
      <header>
        <span className="mark" aria-hidden="true" />
        <h3>{name}</h3>
        <span className="faint">{MOODS[mood]}</span>
      </header>
      {response && bodyOf(response, onSuggest)}
      {text && <pre className="output">{text}</pre>}
      <details className="raw">
        <summary>Details</summary>
        <h4>Input</h4>
        <Json value={part.input} />
        {(response ?? text) !== undefined && (
          <>
            <h4>Output</h4>
            <Json value={response ?? text} />
          </>
        )}
      </details>
    </section>
  );
}
