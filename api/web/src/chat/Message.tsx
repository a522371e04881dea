// One message of a conversation.

import type { UIMessage } from 'ai';
import { memo } from 'react';

import { Attachment } from './Attachment';
import { Answer } from './Answer';
import { textOf } from './visible';

interface Props {
  message: UIMessage;
  streaming: boolean;
  /** Puts words into the message box. */
  onSuggest: (text: string) => void;
}

export const Message = memo(function Message({ message, streaming, onSuggest }: Props) {
  if (message.role === 'assistant') return <Answer message={message} streaming={streaming} onSuggest={onSuggest} />;
  const files = message.parts.filter((part) => part.type === 'file');
  return (
    <article className={`message ${message.role}`} aria-label={message.role === 'user' ? 'You' : 'System'}>
      {files.length > 0 && (
        <ul className="attachments">
          {files.map((file, index) => (
            <li key={index}>
              <Attachment file={file} />
            </li>
          ))}
        </ul>
      )}
      <p className="said">{textOf(message)}</p>
    </article>
  );
});
