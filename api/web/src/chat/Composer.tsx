// Where a message is written.

import { type KeyboardEvent, type Ref, useEffect, useRef, useState } from 'react';

import { sentenceOf } from '../api/problem';
import { Attachment } from './Attachment';
import { attach } from './files';
import type { WhenBusy } from './queue';
import type { Draft } from './useConversation';

interface Props {
  busy: boolean;
  disabled?: boolean;
  /** Words that were put here by something else than the keyboard. */
  given: Draft | undefined;
  box: Ref<HTMLTextAreaElement>;
  onSend: (draft: Draft, whenBusy: WhenBusy) => Promise<boolean>;
  onStop: () => void;
}

const EMPTY: Draft = { text: '', files: [] };

const CHOICES: { value: WhenBusy; name: string }[] = [
  { value: 'enqueue', name: 'after this answer' },
  { value: 'steer', name: 'into this answer' },
  { value: 'interrupt', name: 'instead of this answer' },
];

export function Composer({ busy, disabled = false, given, box, onSend, onStop }: Props) {
  const [draft, setDraft] = useState(EMPTY);
  const [whenBusy, setWhenBusy] = useState<WhenBusy>('enqueue');
  const [trouble, setTrouble] = useState('');
  const picker = useRef<HTMLInputElement>(null);
  const sending = useRef(false);
  const { text, files } = draft;
  const empty = text.trim() === '' && files.length === 0;

  useEffect(() => {
    if (given) setDraft(given);
  }, [given]);

  async function send() {
    if (empty || disabled || sending.current) return;
    sending.current = true;
    setDraft(EMPTY);
    setTrouble('');
    if (!(await onSend({ text: text.trim(), files }, whenBusy))) setDraft(draft);
    sending.current = false;
  }

  async function add(chosen: readonly File[]) {
    try {
      const made = await attach(chosen, files);
      setDraft((now) => ({ ...now, files: [...now.files, ...made] }));
      setTrouble('');
    } catch (error) {
      setTrouble(sentenceOf(error));
    }
  }

  function onKeyDown(event: KeyboardEvent) {
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    void send();
  }

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        void add([...event.dataTransfer.files]);
      }}
    >
      {files.length > 0 && (
        <ul className="attachments" aria-label="Attached files">
          {files.map((file, index) => (
            <li key={index}>
              <Attachment file={file} />
              <button
                type="button"
                className="quiet small"
                aria-label={`Remove ${file.filename ?? 'file'}`}
                onClick={() => setDraft({ text, files: files.filter((_, other) => other !== index) })}
              >
                ×
              </button>
            </li>
          ))}
        </ul>
      )}
      <textarea
        ref={box}
        aria-label="Message"
        placeholder="Message Copilot"
        rows={1}
        value={text}
        disabled={disabled}
        onChange={({ target }) => setDraft({ text: target.value, files })}
        onKeyDown={onKeyDown}
        onPaste={({ clipboardData }) => {
          if (clipboardData.files.length > 0) void add([...clipboardData.files]);
        }}
      />
      <div className="row">
        <button type="button" className="quiet" onClick={() => picker.current?.click()} disabled={disabled}>
          Attach
        </button>
        <input
          ref={picker}
          type="file"
          multiple
          hidden
          aria-label="Files"
          onChange={({ target }) => {
            void add([...(target.files ?? [])]);
            target.value = '';
          }}
        />
        {trouble && (
          <span className="bad" role="alert">
            {trouble}
          </span>
        )}
        <span className="gap" />
        {busy && (
          <select
            aria-label="When to send"
            value={whenBusy}
            onChange={({ target }) => setWhenBusy(target.value as WhenBusy)}
          >
            {CHOICES.map(({ value, name }) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        )}
        {busy && (
          <button type="button" onClick={onStop}>
            Stop
          </button>
        )}
        <button type="submit" className="main" disabled={empty || disabled}>
          Send
        </button>
      </div>
    </form>
  );
}
