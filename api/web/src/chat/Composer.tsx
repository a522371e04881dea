// Where a message is written.

import { type KeyboardEvent, type Ref, useEffect, useRef, useState } from 'react';

import { sentenceOf } from '../api/problem';
import { AttachButton } from './AttachButton';
import { Attachments } from './Attachments';
import type { Draft } from './draft';
import { attach } from './files';
import type { WhenBusy } from './queue';
import { WhenToSend } from './WhenToSend';

interface Props {
  busy: boolean;
  /** Words that were put here by something else than the keyboard. */
  given: Draft | undefined;
  box: Ref<HTMLTextAreaElement>;
  onSend: (draft: Draft, whenBusy: WhenBusy) => Promise<boolean>;
  onStop: () => void;
}

const EMPTY: Draft = { text: '', files: [] };

export function Composer({ busy, given, box, onSend, onStop }: Props) {
  const [draft, setDraft] = useState(EMPTY);
  const [whenBusy, setWhenBusy] = useState<WhenBusy>('enqueue');
  const [trouble, setTrouble] = useState('');
  const sending = useRef(false);
  const { text, files } = draft;
  const empty = text.trim() === '' && files.length === 0;

  useEffect(() => {
    if (given) setDraft(given);
  }, [given]);

  async function send() {
    if (empty || sending.current) return;
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
      <Attachments files={files} onRemove={(index) => setDraft({ text, files: files.toSpliced(index, 1) })} />
      <textarea
        ref={box}
        aria-label="Message"
        placeholder="Message Copilot"
        rows={1}
        value={text}
        onChange={({ target }) => setDraft({ text: target.value, files })}
        onKeyDown={onKeyDown}
        onPaste={({ clipboardData }) => {
          if (clipboardData.files.length > 0) void add([...clipboardData.files]);
        }}
      />
      <div className="row">
        <AttachButton onChoose={(chosen) => void add(chosen)} />
        {trouble && (
          <span className="bad" role="alert">
            {trouble}
          </span>
        )}
        <span className="gap" />
        {busy && <WhenToSend value={whenBusy} onChange={setWhenBusy} />}
        {busy && (
          <button type="button" onClick={onStop}>
            Stop
          </button>
        )}
        <button type="submit" className="main" disabled={empty}>
          Send
        </button>
      </div>
    </form>
  );
}
