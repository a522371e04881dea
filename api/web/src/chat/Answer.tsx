// What Copilot says: text, thoughts and tool calls in their order.

import { isToolUIPart, type UIMessage } from 'ai';

import { ToolCard } from '../tools/ToolCard';
import { Markdown } from './Markdown';
import { Reasoning } from './Reasoning';
import { visible } from './visible';

interface Props {
  message: UIMessage;
  streaming: boolean;
  onSuggest: (text: string) => void;
}

const ENDINGS: Record<string, string> = { stopped: 'Stopped', failed: 'This answer failed' };

function endingOf({ metadata }: UIMessage): string | undefined {
  const status = (metadata as { status?: string } | undefined)?.status;
  return status === undefined ? undefined : (ENDINGS[status] ?? status);
}

export function Answer({ message, streaming, onSuggest }: Props) {
  const ending = endingOf(message);
  return (
    <article className="message assistant" aria-label="Copilot" aria-busy={streaming}>
      {visible(message.parts).map((part, index) => {
        if (part.type === 'text') return <Markdown key={index} text={part.text} />;
        if (part.type === 'reasoning') {
          return <Reasoning key={index} text={part.text} streaming={streaming && part.state === 'streaming'} />;
        }
        return isToolUIPart(part) ? <ToolCard key={part.toolCallId} part={part} onSuggest={onSuggest} /> : null;
      })}
      {streaming && <span className="caret" aria-hidden="true" />}
      {ending && <p className="ending">{ending}</p>}
    </article>
  );
}
