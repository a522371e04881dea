// Asks before money is spent on a fresh day.

import { useEffect, useRef, useState } from 'react';

import { Problem, sentenceOf } from '../api/problem';
import { dollars, tokens, until } from '../page/numbers';
import { readCredits, resetKey, resetUsage, type Reset, type UsageStatus } from './usage';

interface Props {
  usage: UsageStatus;
  onClose: () => void;
  onDone: () => void;
}

export function ResetDialog({ usage: { daily, reset_cost }, onClose, onDone }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [key] = useState(resetKey);
  const [credits, setCredits] = useState<number>();
  const [problem, setProblem] = useState<unknown>();
  const [done, setDone] = useState<Reset>();
  const [asking, setAsking] = useState(false);
  // Nobody pays before they see what they have; and to look is what fills a purse up for the month.
  const unknown = credits === undefined && problem === undefined;

  useEffect(() => {
    dialog.current?.showModal();
    readCredits().then(setCredits, setProblem);
  }, []);

  async function pay() {
    setAsking(true);
    setProblem(undefined);
    try {
      setDone(await resetUsage(key));
      onDone();
    } catch (error) {
      setProblem(error);
    } finally {
      setAsking(false);
    }
  }

  return (
    <dialog ref={dialog} aria-labelledby="reset-title" onClose={onClose}>
      <h2 id="reset-title">Reset today’s usage</h2>
      {done ? (
        <p role="status">
          Done: {dollars(done.credits_charged)} were taken, {dollars(done.remaining_balance)} are left.
        </p>
      ) : (
        <p>
          You have used {tokens(daily.used)} of {tokens(daily.limit)} tokens today; the day begins anew in{' '}
          {until(daily.resets_at)}. A reset now costs <strong>{dollars(reset_cost)}</strong>
          {credits !== undefined && <> of your {dollars(credits)}</>}.
        </p>
      )}
      {problem !== undefined && (
        <p className="bad" role="alert">
          {sentenceOf(problem)}
          {problem instanceof Problem && problem.code && <code>{problem.code}</code>}
        </p>
      )}
      <div className="row end">
        <button type="button" onClick={() => dialog.current?.close()}>
          {done ? 'Close' : 'Not now'}
        </button>
        {!done && (
          <button type="button" className="main" disabled={asking || unknown} onClick={() => void pay()}>
            {asking ? 'Paying…' : `Pay ${dollars(reset_cost)}`}
          </button>
        )}
      </div>
    </dialog>
  );
}
