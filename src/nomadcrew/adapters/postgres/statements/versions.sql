-- Each locks an entity until the end of the transaction, and decides whether a write would undo what its writer has not
-- seen. No row if there is no such entity.

-- name: trip
SELECT is_overtaken(to_jsonb(held), :base::timestamptz, :wanted::jsonb) AS is_overtaken
FROM (SELECT * FROM trips WHERE id = :id::uuid FOR NO KEY UPDATE) AS held

-- name: todo
SELECT is_overtaken(to_jsonb(held), :base::timestamptz, :wanted::jsonb) AS is_overtaken
FROM (SELECT * FROM todos WHERE id = :id::uuid FOR NO KEY UPDATE) AS held

-- name: poll
SELECT is_overtaken(to_jsonb(held), :base::timestamptz, :wanted::jsonb) AS is_overtaken
FROM (SELECT * FROM polls WHERE id = :id::uuid FOR NO KEY UPDATE) AS held

-- name: document
SELECT is_overtaken(to_jsonb(held), :base::timestamptz, :wanted::jsonb) AS is_overtaken
FROM (SELECT * FROM documents WHERE id = :id::uuid FOR NO KEY UPDATE) AS held

-- name: profile
SELECT is_overtaken(to_jsonb(held), :base::timestamptz, :wanted::jsonb) AS is_overtaken
FROM (SELECT * FROM user_profiles WHERE id = :id::uuid FOR NO KEY UPDATE) AS held
