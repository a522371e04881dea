// What is to be done, and how far it is.

import type { Response } from './response';

const MARKS = { pending: '○', in_progress: '◐', completed: '●' } as const;
const WORDS = { pending: 'not begun', in_progress: 'begun', completed: 'done' } as const;

export function Todos({ response: { todos } }: { response: Response<'todo_write'> }) {
  return (
    <ul className="plain">
      {todos.map(({ content, status }, index) => (
        <li key={index} className={status === 'completed' ? 'faint' : undefined}>
          <span role="img" aria-label={WORDS[status]}>
            {MARKS[status]}
          </span>{' '}
          {content}
        </li>
      ))}
    </ul>
  );
}
