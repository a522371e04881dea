// Where a message is written.

import { type KeyboardEvent, type RefObject, useEffect, useLayoutEffect, useRef, useState } from 'react';

import { sentenceOf } from '../api/problem';
import { AttachButton } from './AttachButton';
import { Attachments } from './Attachments';
import { type Draft, joined } from './draft';
import { attach } from './files';
import type { WhenBusy } from './queue';
import { WhenToSend } from './WhenToSend';

interface Props {
  busy: boolean;
  /** Takes the place of what is written. */
  suggested: Draft | undefined;
  /** Was sent, and not taken. */
  returned?: Draft | undefined;
  box: RefObject<HTMLTextAreaElement | null>;
  onSend: (draft: Draft, whenBusy: WhenBusy) => Promise<boolean>;
  onStop: () => void;
}

/** The browser itself makes the box as high as its text. */
const GROWS = CSS.supports('field-sizing', 'content');

const EMPTY: Draft = { text: '', files: [] };

export function Composer({ busy, suggested, returned, box, onSend, onStop }: Props) {
  const [draft, setDraft] = useState(EMPTY);
  const [whenBusy, setWhenBusy] = useState<WhenBusy>('enqueue');
  const [trouble, setTrouble] = useState('');
  const sent = useRef(Promise.resolve());
  const { text, files } = draft;
  const empty = text.trim() === '' && files.length === 0;

  useEffect(() => {
    if (suggested) setDraft(suggested);
  }, [suggested]);

  useEffect(() => {
    if (returned) setDraft((now) => joined(returned, now));
  }, [returned]);

  useLayoutEffect(() => {
    const here = box.current;
    if (!here || GROWS) return;
    here.style.height = 'auto';
    here.style.height = `${here.scrollHeight}px`;
  }, [text, box]);

  /** Each after the one before it, as they were written: whoever types fast does not wait for an answer. */
  function send() {
    if (empty) return;
    setDraft(EMPTY);
    setTrouble('');
    sent.current = sent.current.then(async () => {
      const accepted = await onSend({ text: text.trim(), files }, whenBusy);
      if (!accepted) setDraft((now) => joined(draft, now));
    });
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
    send();
  }

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
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
