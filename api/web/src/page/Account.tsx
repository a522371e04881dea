// Who is signed in, and how to be somebody else.

import { developmentToken, subjectOf, token } from '../api/token';

export function Account() {
  const current = token.get();
  const developer = current === developmentToken;
  const name = developer ? 'Developer' : (subjectOf(current) ?? 'Unknown user');
  return (
    <details className="account">
      <summary>
        <span className="avatar" aria-hidden="true">
          {name.slice(0, 1).toUpperCase()}
        </span>
        {name}
      </summary>
      <form
        className="row"
        onSubmit={(event) => {
          event.preventDefault();
          token.set(String(new FormData(event.currentTarget).get('token')));
        }}
      >
        <input name="token" type="password" autoComplete="off" aria-label="Another token" placeholder="Another token" />
        <button type="submit" className="small">
          Use
        </button>
      </form>
      {!developer && (
        <button type="button" className="quiet small" onClick={() => token.set('')}>
          Sign out
        </button>
      )}
    </details>
  );
}
